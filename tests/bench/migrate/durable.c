/* durable DIR THREADS: fsync each file below DIR, by so many threads at a time, then each directory: what `cp -a` leaves out. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <ftw.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { FILES, DIRECTORIES, MOST_THREADS = 256 };
static char **paths[2];
static size_t count[2], room[2];
static atomic_size_t next;

static int note(const char *path, const struct stat *status, int type, struct FTW *where) {
    int kind = type == FTW_F ? FILES : type == FTW_DP ? DIRECTORIES : -1;
    (void)status, (void)where;
    if (kind < 0)
        return 0;
    if (count[kind] == room[kind])
        paths[kind] = realloc(paths[kind], (room[kind] = room[kind] * 2 + 64) * sizeof(char *));
    return !paths[kind] || !(paths[kind][count[kind]++] = strdup(path));
}

static void *work(void *kind_) {
    int kind = *(int *)kind_;
    for (size_t i; (i = next++) < count[kind];) {
        int file = open(paths[kind][i], O_RDONLY | O_NOFOLLOW);
        if (file < 0 || fsync(file) || close(file)) {
            perror(paths[kind][i]);
            exit(1);
        }
    }
    return 0;
}

int main(int argc, char **argv) {
    int threads = argc == 3 ? atoi(argv[2]) : 0;
    if (threads < 1 || threads > MOST_THREADS || nftw(argv[1], note, 32, FTW_PHYS | FTW_DEPTH))
        return 2;
    for (int kind = FILES; kind <= DIRECTORIES; kind++) {
        pthread_t all[MOST_THREADS];
        next = 0;
        for (int i = 0; i < threads; i++)
            if (pthread_create(all + i, 0, work, &kind))
                return 1;
        for (int i = 0; i < threads; i++)
            pthread_join(all[i], 0);
    }
    return 0;
}
