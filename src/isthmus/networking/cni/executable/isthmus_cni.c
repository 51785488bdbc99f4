/*
 * isthmus-cni: the program that a container runtime runs for each call of the Container Network Interface.
 *
 * It holds no network code: it sends the CNI_* variables and standard input to this host's network agent over a unix
 * socket, prints the agent's answer and exits with 0 or 1. It is C and static because a runtime waits for it at every
 * start of a container, and because it must also run where nothing else of Isthmus is installed.
 *
 * VERSION is answered without the agent. An agent that cannot be asked gives error 50 for STATUS and 11 ("try again
 * later") for all else, DEL too: nobody may believe that something was released that nobody looked at.
 *
 * Everything that comes in is bounded, nothing is run, and no memory is taken by a length that the input names.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#ifndef DEFAULT_SOCKET
#define DEFAULT_SOCKET "/var/lib/isthmus/network-agent.sock"
#endif
#define NEWEST_VERSION "1.1.0"
#define SUPPORTED_VERSIONS "[\"0.3.1\",\"0.4.0\",\"1.0.0\",\"1.1.0\"]"

enum { ERROR_ENVIRONMENT = 4, ERROR_INPUT = 5, ERROR_CONFIGURATION = 7, ERROR_LATER = 11, ERROR_NOT_AVAILABLE = 50 };
enum { MOST_INPUT = 1 << 20, MOST_ANSWER = 1 << 20, MOST_VARIABLE = 8192 };

/* An agent that is being restarted is waited for this long; its own limits end any call before ours do. */
enum { PATIENCE_MS = 2000, STATUS_MS = 15000, CALL_MS = 40000, GC_MS = 300000 };

static const char *const variables[] = {"CNI_COMMAND", "CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_ARGS",
                                        "CNI_PATH"};

struct text {
    char *bytes;
    size_t length, room;
};

static char version[32] = NEWEST_VERSION; /* of the call's configuration, for errors */

/* ---- growing texts and JSON ---- */

static void out_of_memory(void)
{
    static const char said[] = "{\"cniVersion\":\"" NEWEST_VERSION "\",\"code\":11,\"msg\":\"out of memory\"}\n";
    if (write(STDOUT_FILENO, said, sizeof said - 1) < 0)
        _exit(2);
    _exit(1);
}

static void append(struct text *text, const char *bytes, size_t length)
{
    if (text->room - text->length < length) {
        size_t room = (text->length + length) * 2 + 256;
        char *grown = realloc(text->bytes, room);
        if (!grown)
            out_of_memory();
        text->bytes = grown;
        text->room = room;
    }
    memcpy(text->bytes + text->length, bytes, length);
    text->length += length;
}

static void say(struct text *text, const char *words)
{
    append(text, words, strlen(words));
}

/* Append bytes as a JSON string. Those that are no UTF-8 stay as they are: the agent refuses them by name. */
static void say_quoted(struct text *text, const char *bytes, size_t length)
{
    say(text, "\"");
    for (size_t at = 0; at < length; at++) {
        unsigned char byte = (unsigned char)bytes[at];
        if (byte == '"' || byte == '\\' || byte < 0x20) {
            char escaped[8];
            snprintf(escaped, sizeof escaped, "\\u%04x", byte);
            append(text, escaped, 6);
        } else {
            append(text, bytes + at, 1);
        }
    }
    say(text, "\"");
}

static bool write_all(const char *bytes, size_t length)
{
    while (length) {
        ssize_t done = write(STDOUT_FILENO, bytes, length);
        if (done < 0 && errno == EINTR)
            continue;
        if (done <= 0)
            return false;
        bytes += done;
        length -= (size_t)done;
    }
    return true;
}

/* What goes into an answer of ours must be UTF-8, whatever bytes a path or a version came with. */
static void make_ascii(char *words)
{
    for (; *words; words++)
        if ((unsigned char)*words < 0x20 || (unsigned char)*words >= 0x7f)
            *words = '?';
}

/* Print the specification's error and return the exit code of the program. */
__attribute__((format(printf, 3, 4))) static int fail(int code, const char *message, const char *format, ...)
{
    char details[1024], number[32];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(details, sizeof details, format, arguments);
    va_end(arguments);
    make_ascii(details);

    struct text answer = {0};
    say(&answer, "{\"cniVersion\":");
    say_quoted(&answer, version, strlen(version));
    snprintf(number, sizeof number, ",\"code\":%d,\"msg\":", code);
    say(&answer, number);
    say_quoted(&answer, message, strlen(message));
    say(&answer, ",\"details\":");
    say_quoted(&answer, details, strlen(details));
    say(&answer, "}\n");
    write_all(answer.bytes, answer.length);
    return 1;
}

/* ---- the little that is read of the configuration ---- */

static size_t skip_space(const struct text *json, size_t at)
{
    while (at < json->length && strchr(" \t\r\n", json->bytes[at]) && json->bytes[at])
        at++;
    return at;
}

/* Return the index of the quote that ends the string which begins at `at`; the text's length if none does. */
static size_t string_end(const struct text *json, size_t at)
{
    for (at++; at < json->length && json->bytes[at] != '"'; at++)
        if (json->bytes[at] == '\\')
            at++;
    return at < json->length ? at : json->length;
}

/*
 * Copy the string value of a key of the outermost object into `value`: FOUND. UNFIT is a value that is no string, does
 * not fit or has escapes, which neither a version nor a path needs. What is no JSON ends the search early and is
 * complained of by the agent.
 */
enum found { ABSENT, FOUND, UNFIT };

static enum found top_level_string(const struct text *json, const char *wanted, char *value, size_t room)
{
    size_t at = skip_space(json, 0), depth = 0, end;
    bool key_may_come = false;
    if (at >= json->length || json->bytes[at] != '{')
        return ABSENT;
    for (; at < json->length; at++) {
        char byte = json->bytes[at];
        if (byte == '{' || byte == '[') {
            depth++;
            key_may_come = depth == 1;
        } else if (byte == '}' || byte == ']') {
            if (--depth == 0)
                return ABSENT;
        } else if (byte == ',') {
            key_may_come = depth == 1;
        } else if (byte == '"') {
            end = string_end(json, at);
            bool is_wanted = key_may_come && end - at - 1 == strlen(wanted) &&
                             memcmp(json->bytes + at + 1, wanted, strlen(wanted)) == 0;
            key_may_come = false;
            at = end;
            if (!is_wanted)
                continue;
            at = skip_space(json, end + 1);
            if (at >= json->length || json->bytes[at] != ':')
                return ABSENT;
            at = skip_space(json, at + 1);
            if (at >= json->length || json->bytes[at] != '"')
                return UNFIT;
            end = string_end(json, at);
            size_t length = end - at - 1;
            if (end == json->length || length >= room || memchr(json->bytes + at + 1, '\\', length) ||
                memchr(json->bytes + at + 1, 0, length))
                return UNFIT;
            memcpy(value, json->bytes + at + 1, length);
            value[length] = 0;
            return FOUND;
        }
    }
    return ABSENT;
}

static bool read_input(struct text *input)
{
    char block[16384];
    for (;;) {
        ssize_t got = read(STDIN_FILENO, block, sizeof block);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return false;
        if (got == 0)
            return true;
        append(input, block, (size_t)got);
        if (input->length > MOST_INPUT) {
            errno = EFBIG;
            return false;
        }
    }
}

/* ---- the agent ---- */

static long now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000L + now.tv_nsec / 1000000L;
}

/* Wait until the socket can do what is asked; false with ETIMEDOUT once the time is over. */
static bool wait_until(int connection, short events, long deadline)
{
    struct pollfd awaited = {.fd = connection, .events = events};
    for (;;) {
        long left = deadline - now_ms();
        if (left <= 0) {
            errno = ETIMEDOUT;
            return false;
        }
        int ready = poll(&awaited, 1, (int)left);
        if (ready > 0)
            return true;
        if (ready < 0 && errno != EINTR)
            return false;
    }
}

/* Return a connection, or -1 with errno. A socket that is not served is tried again until `patience_ends`. */
static int connect_to(const char *path, long patience_ends, long deadline)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof address.sun_path) {
        errno = ENAMETOOLONG;
        return -1;
    }
    strcpy(address.sun_path, path);
    int connection = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (connection < 0)
        return -1;
    while (connect(connection, (struct sockaddr *)&address, sizeof address) < 0) {
        /* EAGAIN is a queue that is full: the agent lives, and is worth all of the time. */
        bool may_come = errno == ECONNREFUSED || errno == ENOENT;
        if (errno != EAGAIN && errno != EINTR && !(may_come && now_ms() < patience_ends))
            return -1;
        if (now_ms() >= deadline) {
            errno = ETIMEDOUT;
            return -1;
        }
        nanosleep(&(struct timespec){.tv_nsec = 50 * 1000 * 1000}, NULL);
    }
    return connection;
}

static bool send_all(int connection, const struct text *request, long deadline)
{
    for (size_t sent = 0; sent < request->length;) {
        ssize_t done = send(connection, request->bytes + sent, request->length - sent, MSG_NOSIGNAL);
        if (done >= 0)
            sent += (size_t)done;
        else if (errno == EAGAIN && !wait_until(connection, POLLOUT, deadline))
            return false;
        else if (errno != EAGAIN && errno != EINTR)
            return false;
    }
    return true;
}

static bool receive_all(int connection, struct text *answer, long deadline)
{
    char block[16384];
    for (;;) {
        ssize_t got = recv(connection, block, sizeof block, 0);
        if (got == 0)
            return true;
        if (got > 0)
            append(answer, block, (size_t)got);
        else if (errno == EAGAIN && !wait_until(connection, POLLIN, deadline))
            return false;
        else if (errno != EAGAIN && errno != EINTR)
            return false;
        if (answer->length > MOST_ANSWER) {
            errno = EMSGSIZE;
            return false;
        }
    }
}

/*
 * Find the body of an HTTP answer: return its status, or 0 if the answer is no HTTP or was broken off.
 * Only a Content-Length tells a whole answer from one that a dying agent left.
 */
static int parse_answer(struct text *answer, const char **body, size_t *length)
{
    append(answer, "", 1); /* a NUL after it: the searches below end there at the latest */
    const char *head_end = strstr(answer->bytes, "\r\n\r\n");
    int status = 0;
    if (!head_end || sscanf(answer->bytes, "HTTP/1.%*1[01] %3d", &status) != 1)
        return 0;
    *body = head_end + 4;
    *length = answer->length - 1 - (size_t)(*body - answer->bytes);
    if (status == 204)
        return status;
    for (const char *line = answer->bytes; line < head_end; line = strstr(line, "\r\n") + 2)
        if (!strncasecmp(line, "content-length:", 15))
            return strtoul(line + 15, NULL, 10) == *length ? status : 0;
    return 0;
}

static void compose_request(struct text *request, const struct text *input)
{
    struct text body = {0};
    char head[160];
    say(&body, "{\"environment\":{");
    bool first = true;
    for (size_t each = 0; each < sizeof variables / sizeof *variables; each++) {
        const char *value = getenv(variables[each]);
        if (!value)
            continue;
        say(&body, first ? "" : ",");
        first = false;
        say_quoted(&body, variables[each], strlen(variables[each]));
        say(&body, ":");
        say_quoted(&body, value, strlen(value));
    }
    say(&body, "},\"stdin\":");
    say_quoted(&body, input->bytes ? input->bytes : "", input->length);
    say(&body, "}");
    snprintf(head, sizeof head,
             "POST /cni HTTP/1.0\r\nHost: isthmus\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n",
             body.length);
    say(request, head);
    append(request, body.bytes, body.length);
}

/* ---- a call ---- */

static int ask_agent(const char *command, const char *path, const struct text *input)
{
    bool is_status = !strcmp(command, "STATUS");
    int code = is_status ? ERROR_NOT_AVAILABLE : ERROR_LATER;
    const char *next = "see `isthmus network-agent` on this host (systemctl status isthmus-network-agent, its log)";
    long begun = now_ms(), limit = is_status ? STATUS_MS : strcmp(command, "GC") ? CALL_MS : GC_MS;
    long deadline = begun + limit;

    int connection = connect_to(path, is_status ? begun : begun + PATIENCE_MS, deadline);
    if (connection < 0)
        return fail(code, "the network agent is not reachable", "%s: %s; start it or name its socket (agentSocket): %s",
                    path, strerror(errno), next);
    struct text request = {0}, answer = {0};
    compose_request(&request, input);
    if (!send_all(connection, &request, deadline) || !receive_all(connection, &answer, deadline))
        return fail(code, "the network agent does not answer", "%s: %s, after %ld ms; %s", path, strerror(errno),
                    now_ms() - begun, next);
    const char *body = NULL;
    size_t length = 0;
    int status = parse_answer(&answer, &body, &length);
    if (!status)
        return fail(code, "the network agent broke its answer off", "%s: %zu bytes came; %s", path, answer.length - 1,
                    next);
    bool is_done = status == 200 || status == 204;
    if (!is_done && (length == 0 || *body != '{'))
        return fail(code, "the network agent failed", "%s: HTTP status %d without an error of CNI; %s", path, status,
                    next);
    if (!write_all(body, length) || (length && !write_all("\n", 1)))
        return 1;
    return is_done ? 0 : 1;
}

static int show_versions(void)
{
    struct text answer = {0};
    say(&answer, "{\"cniVersion\":");
    say_quoted(&answer, version, strlen(version));
    say(&answer, ",\"supportedVersions\":" SUPPORTED_VERSIONS "}\n");
    return write_all(answer.bytes, answer.length) ? 0 : 1;
}

int main(void)
{
    const char *command = getenv("CNI_COMMAND");
    char path[sizeof((struct sockaddr_un *)0)->sun_path] = DEFAULT_SOCKET, said[sizeof version];
    struct text input = {0};
    if (!command) {
        fputs("isthmus-cni: a CNI plugin that puts containers on Neutron networks; container runtimes run it.\n"
              "It asks the host's `isthmus network-agent`; versions " SUPPORTED_VERSIONS "\n", stderr);
        return fail(ERROR_ENVIRONMENT, "CNI_COMMAND is missing", "required env variables [CNI_COMMAND] missing");
    }
    if (!read_input(&input))
        return fail(ERROR_INPUT, "standard input cannot be read", "%s; at most %d bytes are taken", strerror(errno),
                    MOST_INPUT);
    if (top_level_string(&input, "cniVersion", said, sizeof said) == FOUND)
        strcpy(version, said);
    make_ascii(version);
    if (!strcmp(command, "VERSION"))
        return show_versions();
    for (size_t each = 0; each < sizeof variables / sizeof *variables; each++) {
        const char *value = getenv(variables[each]);
        if (value && strlen(value) > MOST_VARIABLE)
            return fail(ERROR_ENVIRONMENT, "a variable is too long", "%s has more than %d bytes", variables[each],
                        MOST_VARIABLE);
    }
    if (top_level_string(&input, "agentSocket", path, sizeof path) == UNFIT)
        return fail(ERROR_CONFIGURATION, "agentSocket is no path of a socket",
                    "give the path of the network agent's socket, of at most %zu bytes", sizeof path - 1);
    return ask_agent(command, path, &input);
}
