/* The little JSON that child.c and load.c need: walking over values without building anything. */
#ifndef BENCH_JSON_H
#define BENCH_JSON_H
#include <stddef.h>
#include <string.h>

typedef struct {
    const char *at;
    size_t size;
} span;

static inline const char *json_space(const char *p, const char *end) {
    while (p < end && (*p == ' ' || *p == '\t' || *p == '\n' || *p == '\r')) p++;
    return p;
}

/* Behind the string that begins at p (a quote); end if it does not stop. */
static inline const char *json_string(const char *p, const char *end) {
    p++;
    for (;;) {
        const char *quote = memchr(p, '"', (size_t)(end - p));
        if (!quote) return end;
        size_t slashes = 0;
        while (quote - slashes > p && quote[-1 - (long)slashes] == '\\') slashes++;
        p = quote + 1;
        if (slashes % 2 == 0) return p;
    }
}

/* Behind the value that begins at p. */
static inline const char *json_value(const char *p, const char *end) {
    int depth = 0;
    p = json_space(p, end);
    while (p < end) {
        if (*p == '"') {
            p = json_string(p, end);
        } else if (*p == '{' || *p == '[') {
            depth++, p++;
        } else if (*p == '}' || *p == ']') {
            if (depth == 0) return p;
            depth--, p++;
        } else if (*p == ',' || *p == ' ' || *p == '\n' || *p == '\r' || *p == '\t') {
            if (depth == 0) return p;
            p++;
            continue;
        } else {
            p++;
            continue;
        }
        if (depth == 0) return p;
    }
    return end;
}

/* The raw value of one member of an object; size 0 if it is not there. */
static inline span json_member(span object, const char *name) {
    const char *p = object.at, *end = object.at + object.size;
    size_t length = strlen(name);
    p = json_space(p, end);
    if (p >= end || *p != '{') return (span){0, 0};
    p++;
    for (;;) {
        while (p < end && *p != '"' && *p != '}') p++;
        if (p >= end || *p == '}') return (span){0, 0};
        const char *key = p + 1;
        p = json_string(p, end);
        size_t key_size = (size_t)(p - key) - 1;
        while (p < end && *p != ':') p++;
        if (p >= end) return (span){0, 0};
        const char *value = json_space(p + 1, end);
        p = json_value(value, end);
        if (key_size == length && memcmp(key, name, length) == 0) return (span){value, (size_t)(p - value)};
    }
}

/* The first element of an array; size 0 if it is not one or empty. */
static inline span json_first(span array) {
    const char *end = array.at + array.size;
    if (!array.size || *array.at != '[') return (span){0, 0};
    const char *value = json_space(array.at + 1, end);
    return (span){value, (size_t)(json_value(value, end) - value)};
}

static inline int json_is(span value, const char *text) {
    return value.size == strlen(text) && memcmp(value.at, text, value.size) == 0;
}
#endif
