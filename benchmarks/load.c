/* A closed-loop load generator for MCP servers: one thread, epoll, N connections, one call at a time on each.
 * Every call has an id and a nonce of its own, and every answer is looked into: an answer with another id or another
 * nonce is counted as wrong, never as a call. Prints one line of JSON. Talks to the one address in --url only. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "json.h"

typedef struct {
    char *at;
    size_t size, room;
} bytes;

enum stage { CONNECTING, UPGRADE, INITIALIZE, INITIALIZED, READY, CALLING, CLOSING, GONE };
enum framing { HEAD, LENGTH, CHUNK_SIZE, CHUNK_DATA, CHUNK_END, TRAILER, UNTIL_CLOSE };

typedef struct {
    int fd, status, event_stream, last, registered; /* last: the server closes after this answer */
    enum stage stage;
    enum framing framing;
    uint64_t id;
    double sent_at;
    bytes out, in, body;
    size_t out_done, in_done, left;
    char session[300], nonce[40];
} connection;

static struct sockaddr_in address;
static char host[100], path[300] = "/mcp", headers[4096];
static const char *tool = "echo";
static long size_argument = 0, call_limit = 0;
static const char *capabilities = "{}";
static int count = 1, websocket = 0, modern = 0, shared = 0, epoll, ready, open_calls, measuring;
static double seconds = 1, setup_seconds = 60;
static uint64_t next_id = 1, run_nonce, random_state, calls, errors, wrong, reconnects, received;
static connection *all;
static float *latencies;
static size_t latencies_room;
static char first_error[200];

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void fail(const char *text) {
    printf("{\"failed\":\"%s\",\"errors\":%lu,\"ready\":%d}\n", text, (unsigned long)errors, ready);
    exit(1);
}

static void note(const char *text, int number) {
    if (!*first_error) snprintf(first_error, sizeof first_error, "%s %d", text, number);
}

static void add(bytes *b, const void *at, size_t size) {
    if (b->size + size > b->room) {
        b->room = (b->size + size) * 2;
        b->at = realloc(b->at, b->room);
        if (!b->at) fail("no memory");
    }
    memcpy(b->at + b->size, at, size);
    b->size += size;
}

static void watch(connection *c, uint32_t events) {
    struct epoll_event event = {.events = events, .data.ptr = c};
    epoll_ctl(epoll, c->registered ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, c->fd, &event);
    c->registered = 1;
}

static void push(connection *c) {
    while (c->out_done < c->out.size) {
        ssize_t n = send(c->fd, c->out.at + c->out_done, c->out.size - c->out_done, MSG_NOSIGNAL);
        if (n < 0 && errno == EAGAIN) {
            watch(c, EPOLLIN | EPOLLOUT);
            return;
        }
        if (n < 0) return; /* the read side finds out */
        c->out_done += (size_t)n;
    }
    if (c->out_done && c->out.size > 65536) watch(c, EPOLLIN);
    c->out.size = c->out_done = 0;
}

static void frame(connection *c, int opcode, const char *text, size_t size) {
    unsigned char head[14] = {(unsigned char)(0x80 | opcode)};
    size_t used = 2;
    if (size < 126) {
        head[1] = (unsigned char)size;
    } else if (size < 65536) {
        head[1] = 126, head[2] = (unsigned char)(size >> 8), head[3] = (unsigned char)size, used = 4;
    } else {
        head[1] = 127, used = 10;
        for (int i = 0; i < 8; i++) head[2 + i] = (unsigned char)((uint64_t)size >> (56 - 8 * i));
    }
    /* A mask of its own for every frame, as clients must: some servers skip the work for a mask of zeros. */
    random_state ^= random_state << 13, random_state ^= random_state >> 7, random_state ^= random_state << 17;
    uint32_t mask = (uint32_t)(random_state >> 16) | 1;
    head[1] |= 0x80;
    memcpy(head + used, &mask, 4);
    add(&c->out, head, used + 4);
    add(&c->out, text, size);
    unsigned char *payload = (unsigned char *)c->out.at + c->out.size - size;
    for (size_t i = 0; i < size; i++) payload[i] ^= ((unsigned char *)&mask)[i & 3];
}

static void post(connection *c, const char *text, size_t size) {
    if (websocket) {
        frame(c, 1, text, size);
    } else {
        char head[6000];
        char mirror[300] = "";
        if (modern)
            snprintf(mirror, sizeof mirror,
                     "MCP-Protocol-Version: 2026-07-28\r\nMcp-Method: tools/call\r\nMcp-Name: %s\r\n", tool);
        int n = snprintf(head, sizeof head,
                         "POST %s HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\n"
                         "Accept: application/json, text/event-stream\r\n%s%s%s%s%sContent-Length: %zu\r\n\r\n",
                         path, host, headers, mirror, *c->session ? "Mcp-Session-Id: " : "", c->session,
                         *c->session ? "\r\nMcp-Protocol-Version: 2025-06-18\r\n" : "", size);
        add(&c->out, head, (size_t)n);
        add(&c->out, text, size);
    }
    c->sent_at = now();
    push(c);
}

static void call(connection *c) {
    static bytes pad;
    static char head[400];
    int n;
    c->id = next_id++;
    snprintf(c->nonce, sizeof c->nonce, "n%016lx", (unsigned long)(run_nonce ^ (c->id * 0x9E3779B97F4A7C15u)));
    n = snprintf(head, sizeof head, "{\"jsonrpc\":\"2.0\",\"id\":%lu,\"method\":\"tools/call\",\"params\":{\"name\":\"%s\",",
                 (unsigned long)c->id, tool);
    static bytes body;
    body.size = 0;
    add(&body, head, (size_t)n);
    if (strcmp(tool, "echo") == 0) {
        if ((long)pad.size < size_argument) {
            char x = 'x';
            while ((long)pad.size < size_argument) add(&pad, &x, 1);
        }
        n = snprintf(head, sizeof head, "\"arguments\":{\"text\":\"%s", c->nonce);
        add(&body, head, (size_t)n);
        if (pad.size) add(&body, pad.at, pad.size);
        if (modern) {
            n = snprintf(head, sizeof head,
                         "\"},\"_meta\":{\"io.modelcontextprotocol/protocolVersion\":\"2026-07-28\","
                         "\"io.modelcontextprotocol/clientInfo\":{\"name\":\"bench-load\",\"version\":\"1\"},"
                         "\"io.modelcontextprotocol/clientCapabilities\":%s}}}", capabilities);
            add(&body, head, (size_t)n);
        } else {
            add(&body, "\"}}}", 4);
        }
    } else {
        n = snprintf(head, sizeof head, "\"arguments\":{\"%s\":%ld},\"_meta\":{\"progressToken\":%lu}}}",
                     strcmp(tool, "big") ? "count" : "bytes", size_argument, (unsigned long)c->id);
        add(&body, head, (size_t)n);
    }
    c->stage = CALLING;
    open_calls++;
    post(c, body.at, body.size);
}

static void initialize(connection *c) {
    char text[300];
    c->id = next_id++;
    int n = snprintf(text, sizeof text,
                     "{\"jsonrpc\":\"2.0\",\"id\":%lu,\"method\":\"initialize\",\"params\":{\"protocolVersion\":"
                     "\"2025-06-18\",\"capabilities\":{},\"clientInfo\":{\"name\":\"bench-load\",\"version\":\"1\"}}}",
                     (unsigned long)c->id);
    c->stage = INITIALIZE;
    post(c, text, (size_t)n);
}

static void initialized(connection *c) {
    static const char text[] = "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/initialized\"}";
    c->stage = INITIALIZED;
    post(c, text, sizeof text - 1);
}

static void become_ready(connection *c) {
    c->stage = READY;
    ready++;
    if (measuring) {
        call(c);
    } else if (shared && !websocket && c == all) {
        for (int i = 1; i < count; i++) {
            strcpy(all[i].session, c->session);
            if (all[i].stage == READY) continue;
            all[i].stage = READY;
            ready++;
        }
    }
}

static void dial(connection *c) {
    int yes = 1;
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&address, sizeof address) < 0) fail("cannot connect");
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    fcntl(c->fd, F_SETFL, O_NONBLOCK);
    c->registered = 0;
    watch(c, EPOLLIN);
    c->in.size = c->in_done = c->out.size = c->out_done = 0;
    c->framing = HEAD;
    c->last = 0;
}

static void open_connection(connection *c) {
    dial(c);
    c->body.size = 0;
    if (websocket) {
        char head[6000];
        int n = snprintf(head, sizeof head,
                         "GET %s HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n%s"
                         "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
                         "Sec-WebSocket-Protocol: mcp\r\n\r\n",
                         path, host, headers);
        c->stage = UPGRADE;
        add(&c->out, head, (size_t)n);
        push(c);
    } else if (modern) { /* nothing to open: every call is for itself */
        become_ready(c);
    } else if (*c->session) {
        c->stage = READY;
        if (measuring) call(c);
    } else if (!shared || c == all) {
        initialize(c);
    }
}

static void lost(connection *c) {
    if (c->fd >= 0) close(c->fd);
    c->fd = -1;
    if (c->stage == CALLING) open_calls--;
    if (c->stage == CLOSING || c->stage == GONE) {
        c->stage = GONE;
        return;
    }
    errors++;
    reconnects++;
    note("connection lost in stage", (int)c->stage);
    if (reconnects > 1000) fail("connections are lost");
    open_connection(c);
}

static void finish_call(connection *c, int good) {
    open_calls--;
    if (good && measuring) {
        if (calls >= latencies_room) {
            latencies_room = latencies_room ? latencies_room * 2 : 1 << 16;
            latencies = realloc(latencies, latencies_room * sizeof *latencies);
            if (!latencies) fail("no memory");
        }
        latencies[calls++] = (float)((now() - c->sent_at) * 1e3);
    }
    c->stage = READY;
    if (measuring && (!call_limit || (long)(calls + errors + wrong) + open_calls < call_limit)) call(c);
}

/* One JSON-RPC message. 1: our answer, 0: something else that is allowed, -1: somebody else's, -2: an error. */
static int judge(connection *c, span message) {
    char id[32];
    span got = json_member(message, "id"), result;
    if (!got.size || json_member(message, "method").size) return 0;
    if (c->stage != CALLING && c->stage != INITIALIZE) return -1;
    int n = snprintf(id, sizeof id, "%lu", (unsigned long)c->id);
    if (got.size != (size_t)n || memcmp(got.at, id, got.size)) return -1;
    result = json_member(message, "result");
    if (!result.size) return -2;
    if (c->stage == INITIALIZE) return 1;
    span text = json_member(json_first(json_member(result, "content")), "text");
    if (strcmp(tool, "echo") == 0) {
        size_t length = strlen(c->nonce);
        if (text.size != length + 2 + (size_t)size_argument || memcmp(text.at + 1, c->nonce, length)) return -1;
    } else if (strcmp(tool, "big") == 0 && text.size != (size_t)size_argument + 2) {
        return -1;
    }
    return 1;
}

/* The same for all messages of an event stream that has ended. Whatever came besides our one answer is counted here. */
static int judge_stream(connection *c) {
    char *p = c->body.at, *end = c->body.at + c->body.size;
    static bytes data;
    int found = 0;
    uint64_t strangers = 0;
    data.size = 0;
    while (p < end) {
        char *stop = memchr(p, '\n', (size_t)(end - p));
        if (!stop) stop = end;
        size_t length = (size_t)(stop - p);
        if (length && p[length - 1] == '\r') length--;
        if (length == 0 && data.size) {
            int verdict = judge(c, (span){data.at, data.size});
            if (verdict == -1 || (verdict && found)) strangers++;
            else if (verdict) found = verdict;
            data.size = 0;
        } else if (length > 5 && memcmp(p, "data:", 5) == 0) {
            add(&data, p + 5, length - 5);
        }
        p = stop + 1;
    }
    if (found || !strangers) {
        wrong += strangers;
        return found;
    }
    wrong += strangers - 1; /* settle counts one */
    return -1;
}

static void settle(connection *c, int verdict) {
    if (verdict == 1 && c->stage == CALLING) {
        finish_call(c, 1);
    } else if (verdict == 1 && c->stage == INITIALIZE) {
        initialized(c);
        if (websocket) become_ready(c);
    } else if (verdict == -1) {
        wrong++;
        if (c->stage == CALLING) finish_call(c, 0);
    } else {
        errors++;
        note("no good answer, HTTP status", c->status);
        if (errors > 10000 || !measuring) fail("errors");
        if (c->stage == CALLING) finish_call(c, 0);
    }
}

static void answered(connection *c) {
    c->framing = HEAD;
    if (c->stage == CLOSING) {
        c->stage = GONE;
    } else if (c->stage == INITIALIZED) {
        if (c->status / 100 != 2) fail("notification refused");
        if (c->last) close(c->fd), dial(c);
        become_ready(c);
    } else {
        int verdict = -2;
        if (c->status == 200) verdict = c->event_stream ? judge_stream(c) : judge(c, (span){c->body.at, c->body.size});
        if (c->last) close(c->fd), dial(c);
        settle(c, verdict == 0 ? -2 : verdict);
    }
}

static int read_head(connection *c) {
    char *start = c->in.at + c->in_done, *end = memmem(start, c->in.size - c->in_done, "\r\n\r\n", 4);
    if (!end) return 0;
    int chunked = 0, length_known = 0;
    c->status = 0;
    if (end - start > 12) c->status = atoi(start + 9);
    c->event_stream = 0, c->left = 0, c->body.size = 0, c->last = 0;
    for (char *line = memmem(start, (size_t)(end - start + 2), "\r\n", 2); line && line < end;) {
        line += 2;
        char *stop = memmem(line, (size_t)(end + 2 - line), "\r\n", 2);
        *stop = 0;
        char *colon = strchr(line, ':');
        if (colon) {
            char *value = colon + 1;
            while (*value == ' ') value++;
            size_t n = (size_t)(colon - line);
            if (n == 14 && !strncasecmp(line, "content-length", n)) {
                c->left = strtoul(value, NULL, 10), length_known = 1;
            } else if (n == 17 && !strncasecmp(line, "transfer-encoding", n)) {
                chunked = !strcasecmp(value, "chunked");
            } else if (n == 10 && !strncasecmp(line, "connection", n)) {
                c->last = !strcasecmp(value, "close");
            } else if (n == 12 && !strncasecmp(line, "content-type", n)) {
                c->event_stream = !strncasecmp(value, "text/event-stream", 17);
            } else if (n == 14 && !strncasecmp(line, "mcp-session-id", n)) {
                snprintf(c->session, sizeof c->session, "%s", value);
            }
        }
        *stop = '\r';
        line = stop;
    }
    c->in_done = (size_t)(end - c->in.at) + 4;
    if (c->status == 101 || c->status == 204 || c->status == 304) c->framing = LENGTH, c->left = 0;
    else if (chunked) c->framing = CHUNK_SIZE;
    else if (length_known) c->framing = LENGTH;
    else c->framing = UNTIL_CLOSE, c->last = 1;
    return 1;
}

static int take(connection *c) {
    size_t have = c->in.size - c->in_done;
    if (have > c->left) have = c->left;
    add(&c->body, c->in.at + c->in_done, have);
    c->in_done += have;
    c->left -= have;
    return c->left == 0;
}

/* A line of the chunked coding into `line`, 0 if it is not all there. */
static int chunk_line(connection *c, char *line, size_t room) {
    char *start = c->in.at + c->in_done, *stop = memchr(start, '\n', c->in.size - c->in_done);
    if (!stop) return 0;
    size_t n = (size_t)(stop - start);
    if (n && start[n - 1] == '\r') n--;
    if (n >= room) n = room - 1;
    memcpy(line, start, n);
    line[n] = 0;
    c->in_done = (size_t)(stop - c->in.at) + 1;
    return 1;
}

static void http_input(connection *c) {
    char line[64];
    for (;;) {
        if (c->framing == HEAD) {
            if (c->in_done == c->in.size || !read_head(c)) return;
            if (c->stage == UPGRADE) {
                if (c->status != 101) fail("the upgrade is refused");
                c->framing = HEAD;
                initialize(c);
                return;
            }
        }
        switch (c->framing) {
            case LENGTH:
                if (!take(c)) return;
                answered(c);
                break;
            case CHUNK_SIZE:
                if (!chunk_line(c, line, sizeof line)) return;
                c->left = strtoul(line, NULL, 16);
                c->framing = c->left ? CHUNK_DATA : TRAILER;
                break;
            case CHUNK_DATA:
                if (!take(c)) return;
                c->framing = CHUNK_END;
                break;
            case CHUNK_END:
                if (!chunk_line(c, line, sizeof line)) return;
                c->framing = CHUNK_SIZE;
                break;
            case TRAILER:
                if (!chunk_line(c, line, sizeof line)) return;
                if (!*line) answered(c);
                break;
            case UNTIL_CLOSE:
                c->left = c->in.size - c->in_done + 1;
                take(c);
                return;
            case HEAD:
                break;
        }
    }
}

static void websocket_input(connection *c) {
    for (;;) {
        unsigned char *p = (unsigned char *)c->in.at + c->in_done;
        size_t have = c->in.size - c->in_done, head = 2;
        if (have < 2) return;
        uint64_t length = p[1] & 0x7F;
        if (length == 126) head = 4;
        if (length == 127) head = 10;
        if (have < head) return;
        if (head == 4) length = (uint64_t)(p[2] << 8 | p[3]);
        if (head == 10) {
            length = 0;
            for (int i = 2; i < 10; i++) length = length << 8 | p[i];
        }
        if (have < head + length) return;
        char *text = (char *)p + head;
        int opcode = p[0] & 0x0F, last = p[0] & 0x80;
        c->in_done += head + length;
        if (opcode == 9) {
            frame(c, 10, text, length);
            push(c);
        } else if (opcode == 8) {
            frame(c, 8, text, length < 2 ? 0 : 2);
            push(c);
            lost(c);
            return;
        } else if (opcode <= 2) {
            if (opcode) c->body.size = 0;
            add(&c->body, text, length);
            if (last) {
                int verdict = judge(c, (span){c->body.at, c->body.size});
                if (verdict) settle(c, verdict);
            }
        }
    }
}

static void input(connection *c) {
    static char scratch[1 << 18];
    for (;;) {
        ssize_t n = recv(c->fd, scratch, sizeof scratch, 0);
        if (n < 0 && errno == EAGAIN) return;
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) {
            if (n == 0 && c->framing == UNTIL_CLOSE && c->stage != CLOSING) answered(c);
            else lost(c);
            return;
        }
        received += (uint64_t)n;
        add(&c->in, scratch, (size_t)n);
        if (websocket && c->stage != UPGRADE) websocket_input(c);
        else http_input(c);
        if (websocket && c->fd >= 0 && c->in_done < c->in.size && c->stage == INITIALIZE) websocket_input(c);
        memmove(c->in.at, c->in.at + c->in_done, c->in.size - c->in_done);
        c->in.size -= c->in_done;
        c->in_done = 0;
        if (c->fd < 0 || (size_t)n < sizeof scratch) return;
    }
}

static void turn(double until) {
    struct epoll_event events[256];
    double left = until - now();
    int n = epoll_wait(epoll, events, 256, left <= 0 ? 0 : left > 1 ? 1000 : (int)(left * 1e3) + 1);
    for (int i = 0; i < n; i++) {
        connection *c = events[i].data.ptr;
        if (c->fd < 0) continue;
        if (events[i].events & EPOLLOUT) {
            watch(c, EPOLLIN);
            push(c);
        }
        if (events[i].events & ~(uint32_t)EPOLLOUT) input(c);
    }
}

/* The processes whose CPU time is read: one, and all below it but those with the name of the benchmark's server. */
static struct {
    int pid, parent, mine;
} processes[8192];
static int process_count, own_processes;

static void find_processes(int root, const char *left_out) {
    DIR *directory = opendir("/proc");
    if (!directory) return;
    for (struct dirent *entry; (entry = readdir(directory)) && process_count < 8192;) {
        char name[64], text[1024], command[32] = "";
        int pid = atoi(entry->d_name), parent = 0;
        if (pid <= 0) continue;
        snprintf(name, sizeof name, "/proc/%d/stat", pid);
        FILE *file = fopen(name, "r");
        if (!file) continue;
        size_t n = fread(text, 1, sizeof text - 1, file);
        fclose(file);
        text[n] = 0;
        char *opening = strchr(text, '('), *closing = strrchr(text, ')');
        if (!opening || !closing || sscanf(closing, ") %*c %d", &parent) != 1) continue;
        snprintf(command, sizeof command, "%.*s", (int)(closing - opening - 1), opening + 1);
        if (pid != root && !strcmp(command, left_out)) continue;
        processes[process_count].pid = pid;
        processes[process_count].parent = parent;
        processes[process_count++].mine = pid == root;
    }
    closedir(directory);
    for (int found = 1; found;) {
        found = 0;
        for (int i = 0; i < process_count; i++) {
            for (int k = 0; k < process_count && !processes[i].mine; k++) {
                if (!processes[k].mine || processes[k].pid != processes[i].parent) continue;
                processes[i].mine = found = 1;
            }
        }
    }
    for (int i = 0; i < process_count; i++) own_processes += processes[i].mine;
}

/* User and system time of them and all their threads so far, in seconds (the clock counts nanoseconds, not ticks). */
static double cpu_of_processes(void) {
    double sum = 0;
    for (int i = 0; i < process_count; i++) {
        clockid_t clock;
        struct timespec t;
        if (!processes[i].mine || clock_getcpuclockid(processes[i].pid, &clock) || clock_gettime(clock, &t)) continue;
        sum += (double)t.tv_sec + (double)t.tv_nsec / 1e9;
    }
    return sum;
}

static int by_value(const void *a, const void *b) {
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

static double percentile(double share) {
    return calls ? (double)latencies[(size_t)((double)(calls - 1) * share)] : 0;
}

static void end_sessions(void) {
    double until = now() + 2;
    int waiting = 0;
    for (int i = 0; i < count; i++) {
        connection *c = &all[i];
        if (c->stage != READY || c->fd < 0 || (shared && i)) continue;
        c->stage = CLOSING;
        if (websocket) {
            frame(c, 8, "\x03\xe8", 2);
        } else {
            char head[6000];
            int n = snprintf(head, sizeof head, "DELETE %s HTTP/1.1\r\nHost: %s\r\n%sMcp-Session-Id: %s\r\n"
                             "Mcp-Protocol-Version: 2025-06-18\r\n\r\n", path, host, headers, c->session);
            add(&c->out, head, (size_t)n);
        }
        push(c);
        waiting++;
    }
    while (waiting && now() < until) {
        turn(until);
        waiting = 0;
        for (int i = 0; i < count; i++) waiting += all[i].stage == CLOSING;
    }
}

static void read_url(const char *url) {
    int port = 80;
    char name[100];
    if (sscanf(url, "%*[a-z]://%99[^:/]:%d%299s", name, &port, path) < 2) fail("the URL must be http://127.0.0.1:PORT/PATH");
    address.sin_family = AF_INET;
    address.sin_port = htons((uint16_t)port);
    if (inet_pton(AF_INET, strcmp(name, "localhost") ? name : "127.0.0.1", &address.sin_addr) != 1) fail("not an IPv4 address");
    snprintf(host, sizeof host, "%s:%d", name, port);
}

int main(int argc, char **argv) {
    const char *own_path = NULL, *left_out = "child";
    int pid = 0;
    for (int i = 1; i < argc; i++) {
        const char *name = argv[i], *value = i + 1 < argc ? argv[i + 1] : "";
        if (!strcmp(name, "--ws")) websocket = 1;
        else if (!strcmp(name, "--modern")) modern = 1;
        else if (!strcmp(name, "--shared-session")) shared = 1;
        else if (i++, !strcmp(name, "--url")) read_url(value);
        else if (!strcmp(name, "--connections")) count = atoi(value);
        else if (!strcmp(name, "--seconds")) seconds = atof(value);
        else if (!strcmp(name, "--setup-seconds")) setup_seconds = atof(value);
        else if (!strcmp(name, "--calls")) call_limit = atol(value);
        else if (!strcmp(name, "--tool")) tool = value;
        else if (!strcmp(name, "--capabilities")) capabilities = value;
        else if (!strcmp(name, "--size")) size_argument = atol(value);
        else if (!strcmp(name, "--pid")) pid = atoi(value);
        else if (!strcmp(name, "--leave-out")) left_out = value;
        else if (!strcmp(name, "--path")) own_path = value;
        else if (!strcmp(name, "--header")) {
            size_t used = strlen(headers);
            snprintf(headers + used, sizeof headers - used, "%s\r\n", value);
        } else {
            fprintf(stderr, "load --url URL [--connections N] [--seconds S] [--header 'NAME: VALUE'] [--path PATH] [--ws]\n"
                            "     [--shared-session] [--tool echo|big|progress] [--size N] [--calls N] [--setup-seconds S]\n"
                            "     [--modern] revision 2026-07-28, without sessions  [--capabilities JSON] of a modern client\n"
                            "     [--pid PROCESS] whose CPU time is read before and after, with all processes below it\n"
                            "     [--leave-out NAME] but those of this name (child)\n");
            return 64;
        }
    }
    if (!address.sin_port || count < 1) fail("--url and --connections are needed");
    if (own_path) snprintf(path, sizeof path, "%s", own_path);
    run_nonce = (uint64_t)(now() * 1e9) ^ ((uint64_t)getpid() << 40);
    random_state = run_nonce | 1;
    epoll = epoll_create1(EPOLL_CLOEXEC);
    all = calloc((size_t)count, sizeof *all);
    if (!all) fail("no memory");
    for (int i = 0; i < count; i++) open_connection(&all[i]);
    double until = now() + setup_seconds;
    while (ready < count) {
        if (now() > until) fail("sessions are not ready in time");
        turn(until);
    }
    if (modern) { /* the first call of a client may start a server, as the opening of a session does */
        for (int i = 0; i < count; i++) call(&all[i]);
        while (open_calls) {
            if (now() > until) fail("first calls are not answered in time");
            turn(until);
        }
    }
    measuring = 1;
    if (pid) find_processes(pid, left_out);
    double cpu = cpu_of_processes(), start = now(), end = start + seconds;
    received = 0;
    for (int i = 0; i < count; i++) call(&all[i]);
    while (now() < end && open_calls) turn(end);
    double took = now() - start;
    cpu = cpu_of_processes() - cpu;
    measuring = 0;
    for (double drain = now() + 2; open_calls && now() < drain;) turn(drain);
    int unanswered = open_calls;
    end_sessions();
    qsort(latencies, calls, sizeof *latencies, by_value);
    printf("{\"calls\":%lu,\"seconds\":%.4f,\"calls_per_s\":%.1f,\"p50_ms\":%.4f,\"p90_ms\":%.4f,\"p99_ms\":%.4f,"
           "\"max_ms\":%.4f,\"errors\":%lu,\"wrong\":%lu,\"unanswered\":%d,\"reconnects\":%lu,\"bytes\":%lu,"
           "\"cpu_s\":%.6f,\"processes\":%d,\"first_error\":\"%s\"}\n",
           (unsigned long)calls, took, (double)calls / took, percentile(0.5), percentile(0.9), percentile(0.99),
           percentile(1), (unsigned long)errors, (unsigned long)wrong, unanswered, (unsigned long)reconnects,
           (unsigned long)received, cpu, own_processes, first_error);
    return 0;
}
