/* load - POP3 load generator: lock-step sessions on many connections, every reply checked.
 *
 * usage: load PORT CONNECTIONS SESSIONS USERS MODE MESSAGES OCTETS
 *   MODE  stat   USER PASS STAT QUIT
 *         fetch  USER PASS STAT, RETR 1..MESSAGES, QUIT
 *         delete the same with DELE after each RETR
 *         list   USER PASS LIST QUIT
 *         hold   USER PASS, then wait for a line on stdin
 * Sessions log in as u0000, u0001, ..., each connection with users of its own, password testpw. A message must be OCTETS long on the wire,
 * terminator not counted; two more pass, the empty line that qmail and mailfront add.
 * Output: one line of JSON. Exit 1 at the first wrong reply, which is shown.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { BANNER, USER, PASS, STAT, LIST, RETR, DELE, QUIT, HELD };
enum { ROOM = 262144 };

struct session {
    int fd, step, user, message;
    int slot, turn;
    double began;
    int multi;            /* inside a multi-line reply */
    long body;            /* octets of it so far */
    unsigned char tail[5];
    char line[512];       /* a first line that is not complete yet */
    int filled;
};

static int port, users, width, messages, holding, held;
static long octets, sessions, started, finished;
static const char *mode;
static double *took;
static char *room;
static int poller;

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

static void fail(struct session *s, const char *what, const char *text, int length) {
    fprintf(stderr, "load: step %d, user %d, message %d: %s: %.*s\n", s->step, s->user, s->message, what,
            length > 200 ? 200 : length, text);
    exit(1);
}

static void say(struct session *s, const char *format, int number) {
    char text[64];
    int length = snprintf(text, sizeof text, format, number);
    if (write(s->fd, text, length) != length) fail(s, "write", strerror(errno), 40);
}

static int low_of(struct session *s) { return (long)s->slot * users / width; }

static int high_of(struct session *s) { return (long)(s->slot + 1) * users / width; }

static void begin(struct session *s) {
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = s};
    int one = 1;
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    s->fd = socket(AF_INET, SOCK_STREAM, 0);
    s->began = now();
    started++;
    /* Each connection has users of its own: two sessions in one box would be refused by most servers. */
    s->user = low_of(s) + s->turn++ % (high_of(s) > low_of(s) ? high_of(s) - low_of(s) : 1);
    s->step = BANNER;
    s->message = s->filled = s->multi = 0;
    setsockopt(s->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (connect(s->fd, (struct sockaddr *)&a, sizeof a) < 0) fail(s, "connect", strerror(errno), 40);
    epoll_ctl(poller, EPOLL_CTL_ADD, s->fd, &e);
}

static void finish(struct session *s) {
    close(s->fd);
    took[finished++] = now() - s->began;
    s->fd = -1;
    /* A box that was emptied has nothing left for a second session. */
    int spent = !strcmp(mode, "delete") && s->turn >= high_of(s) - low_of(s);
    if (started < sessions && !spent) begin(s);
}

/* A reply is complete: send the next command. */
static void next(struct session *s) {
    switch (s->step) {
    case BANNER: s->step = USER; say(s, "USER u%04d\r\n", s->user); return;
    case USER: s->step = PASS; say(s, "PASS testpw\r\n", 0); return;
    case PASS:
        if (holding) { s->step = HELD; held++; return; }
        if (!strcmp(mode, "list")) { s->step = LIST; say(s, "LIST\r\n", 0); return; }
        s->step = STAT; say(s, "STAT\r\n", 0); return;
    case RETR:
        if (!strcmp(mode, "delete")) { s->step = DELE; say(s, "DELE %d\r\n", s->message); return; }
        break;
    case QUIT: finish(s); return;
    }
    if ((s->step == STAT || s->step == RETR || s->step == DELE) && strcmp(mode, "stat") && s->message < messages) {
        s->step = RETR;
        say(s, "RETR %d\r\n", ++s->message);
        return;
    }
    s->step = QUIT;
    say(s, "QUIT\r\n", 0);
}

/* Check a first line; 1 when the reply goes on behind it. */
static int status(struct session *s, const char *line, int length) {
    int count;
    if (length < 5 || memcmp(line, "+OK", 3)) fail(s, "refused", line, length);
    if (s->step == STAT && (sscanf(line, "+OK %d", &count) != 1 || count != messages)) fail(s, "STAT", line, length);
    return s->step == LIST || s->step == RETR;
}

static void take(struct session *s, char *data, long length) {
    while (length > 0 && s->fd >= 0) {
        if (s->multi) {
            /* In lock-step nothing follows the terminator, so the rest of the data is body. */
            long keep = length < 5 ? length : 5;
            s->body += length;
            memmove(s->tail, s->tail + keep, 5 - keep);
            memcpy(s->tail + 5 - keep, data + length - keep, keep);
            if ((s->body >= 5 && !memcmp(s->tail, "\r\n.\r\n", 5)) || (s->body == 3 && !memcmp(s->tail + 2, ".\r\n", 3))) {
                long size = s->body - 3;
                if (s->step == RETR && size != octets && size != octets + 2) fail(s, "octets", data, 40);
                if (s->step == LIST && size < 4L * messages) fail(s, "LIST", data, 40);
                s->multi = 0;
                next(s);
            }
            return;
        }
        char *end = memchr(data, '\n', length);
        long part = end ? end - data + 1 : length;
        if (s->filled + part > (long)sizeof s->line) fail(s, "line too long", data, 80);
        memcpy(s->line + s->filled, data, part);
        s->filled += part;
        data += part;
        length -= part;
        if (!end) return;
        part = s->filled;
        s->filled = 0;
        if (status(s, s->line, part)) {
            s->multi = 1;
            s->body = 0;
            memset(s->tail, 0, 5);
        } else {
            if (length) fail(s, "more than was asked for", data, length);
            next(s);
        }
    }
}

static int by_size(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

int main(int argc, char **argv) {
    struct epoll_event ready[64];
    struct rusage usage;
    double began, wall;
    if (argc != 8) return fprintf(stderr, "usage: load PORT CONNECTIONS SESSIONS USERS MODE MESSAGES OCTETS\n"), 2;
    port = atoi(argv[1]);
    width = atoi(argv[2]);
    sessions = atol(argv[3]);
    users = atoi(argv[4]);
    mode = argv[5];
    messages = atoi(argv[6]);
    octets = atol(argv[7]);
    holding = !strcmp(mode, "hold");
    took = calloc(sessions, sizeof *took);
    room = malloc(ROOM);
    poller = epoll_create1(0);
    struct session *all = calloc(width, sizeof *all);
    began = now();
    for (int i = 0; i < width && started < sessions; i++) {
        all[i].slot = i;
        begin(&all[i]);
    }
    while (holding ? held < sessions : finished < sessions) {
        int count = epoll_wait(poller, ready, 64, 120000);
        if (count <= 0) return fprintf(stderr, "load: nothing happens any more\n"), 1;
        for (int i = 0; i < count; i++) {
            struct session *s = ready[i].data.ptr;
            long length = read(s->fd, room, ROOM);
            if (length <= 0) fail(s, "connection ended", "", 0);
            take(s, room, length);
        }
    }
    wall = now() - began;
    getrusage(RUSAGE_SELF, &usage);
    qsort(took, sessions, sizeof *took, by_size);
    printf("{\"sessions\": %ld, \"seconds\": %.4f, \"own_cpu_s\": %.4f, \"p50_ms\": %.3f, \"p99_ms\": %.3f}\n", sessions, wall,
           usage.ru_utime.tv_sec + usage.ru_stime.tv_sec + (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6,
           took[sessions / 2] * 1e3, took[sessions * 99 / 100] * 1e3);
    fflush(stdout);
    if (holding) (void)!read(0, room, 1);
    return 0;
}
