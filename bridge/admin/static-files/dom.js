/**
 * Elements of the page. Text from servers and clients is only ever set as text, never as HTML. Rows are updated in place, so
 * that the focus and the reading position of a screen reader stay.
 */

/** Return a new element with these attributes and children. Strings become text. */
export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    made.setAttribute(key, value);
  }
  made.append(...children);
  return made;
}

/** Set the text of a node, if it differs. */
export function setText(node, text) {
  if (node.textContent !== text) {
    node.textContent = text;
  }
}

/** Set or remove an attribute. */
export function setAttribute(node, name, value) {
  if (value === null) {
    node.removeAttribute(name);
  } else if (node.getAttribute(name) !== value) {
    node.setAttribute(name, value);
  }
}

/**
 * Replace the options of a select, and keep the selection where it still exists. Each option is a value and a text. Returns
 * whether the selection is lost.
 */
export function setOptions(select, options) {
  const wanted = options.map(([value, text]) => `${value}\n${text}`).join("\n\n");
  if (select.dataset.options === wanted) {
    return false;
  }
  select.dataset.options = wanted;
  const chosen = select.value;
  select.replaceChildren(...options.map(([value, text]) => element("option", { value }, text)));
  select.value = options.some(([value]) => value === chosen) ? chosen : "";
  return select.value !== chosen;
}

/**
 * A table whose rows have keys. Each column has `head` and `update(cell, row)`, and may be `number`, `rowHead` or `text`. On a
 * narrow screen rows are cards, which takes the roles of a table away, so these are stated.
 */
export class Table {
  constructor(table, columns, empty) {
    this.columns = columns;
    this.rows = new Map();
    setAttribute(table, "role", "table");
    table.classList.add("cards");
    const heads = columns.map((column) =>
      element("th", { class: column.number ? "number" : "", role: "columnheader", scope: "col" }, column.head),
    );
    this.body = element("tbody", { role: "rowgroup" });
    table.append(element("thead", { role: "rowgroup" }, element("tr", { role: "row" }, ...heads)), this.body);
    this.empty = element("p", { class: "empty" }, empty);
    table.after(this.empty);
    this.table = table;
  }

  /** Show exactly these rows, in this order. `keyOf` returns the key of a row. */
  update(rows, keyOf) {
    const keys = new Set();
    let before = null;
    for (const row of rows) {
      const key = keyOf(row);
      keys.add(key);
      const line = this.rows.get(key) ?? this.add(key);
      this.fill(line, row);
      // Moving a row would take the focus away, so only a row out of place is moved.
      const wanted = before === null ? this.body.firstElementChild : before.nextElementSibling;
      if (wanted !== line) {
        this.body.insertBefore(line, wanted);
      }
      before = line;
    }
    for (const [key, line] of this.rows) {
      if (!keys.has(key)) {
        line.remove();
        this.rows.delete(key);
      }
    }
    this.showEmpty();
  }

  /** Add a row in front, and remove the last one above `most`. */
  prepend(key, row, most) {
    const line = this.add(key);
    this.fill(line, row);
    this.body.prepend(line);
    if (this.body.childElementCount > most) {
      const last = this.body.lastElementChild;
      this.rows.delete(last.dataset.key);
      last.remove();
    }
    this.showEmpty();
  }

  clear() {
    this.rows.clear();
    this.body.replaceChildren();
    this.showEmpty();
  }

  add(key) {
    const cells = this.columns.map((column) =>
      column.rowHead
        ? element("th", { role: "rowheader", scope: "row" })
        : element("td", { class: this.classOf(column), "data-label": column.head, role: "cell" }),
    );
    const line = element("tr", { "data-key": key, role: "row" }, ...cells);
    this.rows.set(key, line);
    return line;
  }

  classOf(column) {
    return [column.number && "number", column.text && "text", column.oneLine && "one-line"].filter(Boolean).join(" ");
  }

  fill(line, row) {
    for (const [at, column] of this.columns.entries()) {
      column.update(line.children[at], row);
    }
  }

  showEmpty() {
    const isEmpty = this.rows.size === 0;
    this.table.hidden = isEmpty;
    this.empty.hidden = !isEmpty;
  }
}
