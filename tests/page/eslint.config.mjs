// The linter of the scripts of the page. All rules of ESLint that find faults, and those that keep text from becoming HTML.
import js from "@eslint/js";

const browser = [
  "AbortController",
  "Event",
  "Intl",
  "TextDecoderStream",
  "URLSearchParams",
  "document",
  "fetch",
  "history",
  "localStorage",
  "location",
  "setTimeout",
];
const noHtml = ["innerHTML", "outerHTML", "insertAdjacentHTML", "setHTMLUnsafe", "createContextualFragment", "srcdoc"];

export default [
  js.configs.recommended,
  {
    languageOptions: {
      ecmaVersion: 2024,
      globals: Object.fromEntries(browser.map((name) => [name, "readonly"])),
      sourceType: "module",
    },
    linterOptions: { reportUnusedDisableDirectives: "error" },
    rules: {
      complexity: ["error", 12],
      curly: "error",
      eqeqeq: "error",
      "max-depth": ["error", 3],
      "no-alert": "error",
      "no-console": "error",
      "no-eval": "error",
      "no-implied-eval": "error",
      "no-new-func": "error",
      "no-param-reassign": "error",
      "no-restricted-properties": [
        "error",
        ...noHtml.map((property) => ({ message: "Text is set as text, never as HTML.", property })),
        { message: "Text is set as text, never as HTML.", object: "document", property: "write" },
      ],
      "no-script-url": "error",
      "no-shadow": "error",
      "no-use-before-define": ["error", { classes: true, functions: false, variables: true }],
      "no-var": "error",
      "object-shorthand": "error",
      "prefer-const": "error",
      "prefer-template": "error",
    },
  },
];
