/* verify_floor - what any verification over POP3 must do at least: two bare sessions a box, everything thrown away.
 *
 * usage: verify_floor OLD_PORT NEW_PORT BOXES MESSAGES AHEAD THREADS
 * Logins are b0000, b0001, ..., password testpw, on 127.0.0.1. The commands are those of `popbox migrate verify`: USER,
 * PASS, LIST, UIDL, STAT, RETR of each message, AHEAD at a time; then the connection is dropped. Nothing is parsed but
 * the ends of replies. Output: octets received. Exit 1 at the first reply that is not +OK, or where a side hangs up.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { ROOM = 65536, COMMANDS = 16384 };

static int ports[2], boxes, messages, ahead;
static atomic_int next_box;
static atomic_long received;

static void fail(const char *what) {
    fprintf(stderr, "verify_floor: %s\n", what);
    exit(1);
}

static void say(int fd, const char *text, int length) {
    if (write(fd, text, length) != length) fail("a command was not taken");
}

/* Reads `count` replies, of one line or with a dot at their end; no reply of one line has "\n.\r\n" in it. */
static void hear(int fd, char *room, int count, int multi) {
    const char *end = multi ? "\n.\r\n" : "\n";
    int width = multi ? 4 : 1, matched = 0, first = 1;
    while (count > 0) {
        ssize_t got = read(fd, room, ROOM);
        if (got <= 0) fail("a side hung up");
        if (first && room[0] != '+') fail("a reply is not +OK");
        first = 0;
        received += got;
        if (width == 1) {
            for (char *at = room; (at = memchr(at, '\n', room + got - at)); at++) count--;
            continue;
        }
        for (char *at = room; at < room + got;) {
            if (matched == 0 && !(at = memchr(at, '\n', room + got - at))) break;
            if (*at == end[matched]) {
                at++;
                if (++matched == width) matched = 1, count--; /* its LF may begin the next end */
            } else {
                if (*at != '\n') at++;
                matched = 0;
            }
        }
    }
}

static void session(int port, int box, char *room) {
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;
    char text[COMMANDS];
    if (connect(fd, (struct sockaddr *)&to, sizeof to)) fail("cannot connect");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    hear(fd, room, 1, 0);
    say(fd, text, sprintf(text, "USER b%04d\r\n", box));
    hear(fd, room, 1, 0);
    say(fd, "PASS testpw\r\n", 13);
    hear(fd, room, 1, 0);
    say(fd, "LIST\r\n", 6);
    hear(fd, room, 1, 1);
    say(fd, "UIDL\r\n", 6);
    hear(fd, room, 1, 1);
    say(fd, "STAT\r\n", 6);
    hear(fd, room, 1, 0);
    for (int sent = 0; sent < messages;) {
        int length = 0, count = 0;
        for (; count < ahead && sent < messages; count++) length += sprintf(text + length, "RETR %d\r\n", ++sent);
        say(fd, text, length);
        hear(fd, room, count, 1);
    }
    close(fd);
}

static void *work(void *room) {
    for (int box; (box = next_box++) < boxes;)
        for (int side = 0; side < 2; side++) session(ports[side], box, room);
    return NULL;
}

int main(int argc, char **argv) {
    if (argc != 7) fail("usage: verify_floor OLD_PORT NEW_PORT BOXES MESSAGES AHEAD THREADS");
    ports[0] = atoi(argv[1]), ports[1] = atoi(argv[2]), boxes = atoi(argv[3]), messages = atoi(argv[4]);
    ahead = atoi(argv[5]);
    int threads = atoi(argv[6]);
    if (threads < 1 || threads > 256 || ahead < 1 || ahead > 1000) fail("1 to 256 threads, 1 to 1000 ahead");
    pthread_t made[256];
    for (int n = 0; n < threads; n++) pthread_create(&made[n], NULL, work, malloc(ROOM));
    for (int n = 0; n < threads; n++) pthread_join(made[n], NULL);
    printf("%ld\n", (long)received);
    return 0;
}
