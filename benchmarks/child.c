/* The quickest stdio MCP server that we can write, so that the benchmarks measure bridges and not a server.
 * Tools: echo {text} gives the text back; big {bytes} a text of that many bytes; progress {count} that many
 * notifications first. Ids are copied byte for byte. Never opens, reads or writes anything but its standard streams. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "json.h"

static char *out;
static size_t used, room;

static void put(const char *bytes, size_t size) {
    if (used + size > room) {
        room = (used + size) * 2;
        out = realloc(out, room);
        if (!out) _exit(70);
    }
    memcpy(out + used, bytes, size);
    used += size;
}

static void text(const char *string) { put(string, strlen(string)); }

static void flush_out(void) {
    size_t done = 0;
    while (done < used) {
        ssize_t n = write(1, out + done, used - done);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) _exit(0);
        done += (size_t)n;
    }
    used = 0;
}

static void begin(span id) {
    text("{\"jsonrpc\":\"2.0\",\"id\":");
    put(id.at, id.size);
    text(",\"result\":");
}

static void text_result(span id, const char *quoted, size_t size) {
    begin(id);
    text("{\"content\":[{\"type\":\"text\",\"text\":");
    put(quoted, size);
    text("}],\"isError\":false}}\n");
}

static long number(span value) { return value.size ? strtol(value.at, NULL, 10) : 0; }

static void call(span id, span params) {
    span name = json_member(params, "name"), arguments = json_member(params, "arguments");
    if (json_is(name, "\"echo\"")) {
        span said = json_member(arguments, "text");
        if (!said.size) said = (span){"\"\"", 2};
        text_result(id, said.at, said.size);
    } else if (json_is(name, "\"big\"")) {
        long size = number(json_member(arguments, "bytes"));
        if (size < 0 || size > 1 << 30) size = 0;
        char *quoted = malloc((size_t)size + 2);
        if (!quoted) _exit(70);
        memset(quoted, 'x', (size_t)size + 2);
        quoted[0] = quoted[size + 1] = '"';
        text_result(id, quoted, (size_t)size + 2);
        free(quoted);
    } else if (json_is(name, "\"progress\"")) {
        long count = number(json_member(arguments, "count"));
        span token = json_member(json_member(params, "_meta"), "progressToken");
        for (long i = 1; i <= count && token.size; i++) {
            char tail[64];
            text("{\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\",\"params\":{\"progressToken\":");
            put(token.at, token.size);
            snprintf(tail, sizeof tail, ",\"progress\":%ld,\"total\":%ld}}\n", i, count);
            text(tail);
        }
        text_result(id, "\"done\"", 6);
    } else {
        text("{\"jsonrpc\":\"2.0\",\"id\":");
        put(id.at, id.size);
        text(",\"error\":{\"code\":-32602,\"message\":\"no such tool\"}}\n");
    }
}

#define TOOL(name, member, type)                                                                                \
    "{\"name\":\"" name "\",\"description\":\"" name "\",\"inputSchema\":{\"type\":\"object\",\"properties\":" \
    "{\"" member "\":{\"type\":\"" type "\"}},\"required\":[\"" member "\"]}}"

static void answer(span line) {
    span id = json_member(line, "id"), method = json_member(line, "method"), params = json_member(line, "params");
    if (!id.size || !method.size) return;
    if (json_is(method, "\"tools/call\"")) {
        call(id, params);
    } else if (json_is(method, "\"initialize\"")) {
        span version = json_member(params, "protocolVersion");
        if (!version.size) version = (span){"\"2025-06-18\"", 12};
        begin(id);
        text("{\"protocolVersion\":");
        put(version.at, version.size);
        text(",\"capabilities\":{\"tools\":{}},\"serverInfo\":{\"name\":\"bench-child\",\"version\":\"1\"}}}\n");
    } else if (json_is(method, "\"tools/list\"")) {
        begin(id);
        text("{\"tools\":[" TOOL("echo", "text", "string") "," TOOL("big", "bytes", "integer") ","
             TOOL("progress", "count", "integer") "]}}\n");
    } else if (json_is(method, "\"ping\"")) {
        begin(id);
        text("{}}\n");
    } else {
        text("{\"jsonrpc\":\"2.0\",\"id\":");
        put(id.at, id.size);
        text(",\"error\":{\"code\":-32601,\"message\":\"method not found\"}}\n");
    }
}

int main(void) {
    size_t size = 1 << 16, held = 0;
    char *in = malloc(size);
    if (!in) return 70;
    for (;;) {
        if (held == size) {
            size *= 2;
            in = realloc(in, size);
            if (!in) return 70;
        }
        ssize_t n = read(0, in + held, size - held);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return 0;
        size_t begin_at = 0, seen = held;
        held += (size_t)n;
        for (;;) {
            char *stop = memchr(in + seen, '\n', held - seen);
            if (!stop) break;
            seen = (size_t)(stop - in) + 1;
            answer((span){in + begin_at, (size_t)(stop - in) - begin_at});
            begin_at = seen;
        }
        memmove(in, in + begin_at, held - begin_at);
        held -= begin_at;
        flush_out();
    }
}
