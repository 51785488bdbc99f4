/*
 * isthmus-plugin: the one program of Isthmus's managed Docker plug-in.
 *
 * Swarm mode takes no plug-in that is only a socket on the host. So this is one that Docker runs itself, and that hands
 * every connection on to the network agent's socket, which is mounted into it: isthmus-plugin LISTEN AGENT.
 *
 * It keeps nothing and reads nothing of what passes. An agent that is not there means that a connection is closed at
 * once, which Docker takes for a plug-in that does not answer, and tries again.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { MOST_WAITING = 64, CHUNK = 65536 };

static bool address_of(const char *path, struct sockaddr_un *address)
{
    memset(address, 0, sizeof *address);
    address->sun_family = AF_UNIX;
    if (strlen(path) >= sizeof address->sun_path)
        return false;
    memcpy(address->sun_path, path, strlen(path) + 1);
    return true;
}

static bool send_all(int to, const char *bytes, size_t length)
{
    while (length > 0) {
        ssize_t sent = send(to, bytes, length, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent <= 0)
            return false;
        bytes += sent;
        length -= (size_t)sent;
    }
    return true;
}

/* Carry what one end says to the other; false once this direction has ended. */
static bool carry(int from, int to)
{
    static char bytes[CHUNK];
    ssize_t length = recv(from, bytes, sizeof bytes, 0);
    if (length < 0 && errno == EINTR)
        return true;
    if (length > 0 && send_all(to, bytes, (size_t)length))
        return true;
    shutdown(to, SHUT_WR);
    return false;
}

static void serve(int client, const char *agent)
{
    struct sockaddr_un address;
    int server = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (server < 0 || !address_of(agent, &address) ||
        connect(server, (const struct sockaddr *)&address, sizeof address) != 0) {
        fprintf(stderr, "the network agent does not listen on %s: %s\n", agent, strerror(errno));
        return;
    }
    struct pollfd ends[2] = {{.fd = client, .events = POLLIN}, {.fd = server, .events = POLLIN}};
    while (ends[0].fd >= 0 || ends[1].fd >= 0) {
        if (poll(ends, 2, -1) < 0) {
            if (errno == EINTR)
                continue;
            return;
        }
        if (ends[0].revents && !carry(client, server))
            ends[0].fd = -1;
        if (ends[1].revents && !carry(server, client))
            return; /* the agent has said all: there is nobody left to speak to */
    }
}

int main(int count, char **words)
{
    struct sockaddr_un address;
    if (count != 3 || !address_of(words[1], &address)) {
        fprintf(stderr, "usage: isthmus-plugin LISTEN AGENT, two paths of sockets\n");
        return 2;
    }
    signal(SIGCHLD, SIG_IGN); /* children are not waited for */
    umask(0077);
    unlink(words[1]);
    int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (listener < 0 || bind(listener, (const struct sockaddr *)&address, sizeof address) != 0 ||
        listen(listener, MOST_WAITING) != 0) {
        fprintf(stderr, "cannot listen on %s: %s\n", words[1], strerror(errno));
        return 1;
    }
    for (;;) {
        int client = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        if (client < 0) {
            if (errno == EINTR || errno == ECONNABORTED)
                continue;
            fprintf(stderr, "cannot accept: %s\n", strerror(errno));
            return 1;
        }
        if (fork() == 0) {
            close(listener);
            serve(client, words[2]);
            _exit(0);
        }
        close(client);
    }
}
