/* floor make|look DIR BOXES: what 100,000 mailboxes cost the system itself, with no program around it.
 *
 * make: the directories and files that `mailhost apply` makes of a box (staged, owned, renamed), one text of 256 octets
 * a box for the tables, and one sync. look: what `mailhost lint` has to ask of the system for each of those boxes.
 * 400 boxes a domain, as in test_scale.py. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { OF_DOMAIN = 400, ROW = 256 };
static const char *inside[] = {"Maildir", "Maildir/tmp", "Maildir/new", "Maildir/cur"};

static void must(int said, const char *what) {
    if (said < 0) {
        perror(what);
        exit(1);
    }
}

static void make(int top, long box) {
    char name[64], staged[80], row[ROW];
    int domain, place, file;
    snprintf(name, sizeof name, "domain%03ld-example", box / OF_DOMAIN);
    if (box % OF_DOMAIN == 0)
        must(mkdirat(top, name, 0755), name);
    must(domain = openat(top, name, O_RDONLY | O_DIRECTORY), name);
    snprintf(name, sizeof name, "user%04ld", box % OF_DOMAIN);
    snprintf(staged, sizeof staged, ".%s.new", name);
    must(mkdirat(domain, staged, 0700), staged);
    must(place = openat(domain, staged, O_RDONLY | O_DIRECTORY), staged);
    for (int i = 0; i < 4; i++) {
        must(mkdirat(place, inside[i], 0700), inside[i]);
        must(fchownat(place, inside[i], 888, 888, 0), inside[i]);
    }
    must(file = openat(place, ".qmail", O_WRONLY | O_CREAT | O_EXCL, 0600), ".qmail");
    must(write(file, "./Maildir/\n", 11), ".qmail");
    must(fchown(file, 888, 888), ".qmail");
    close(file);
    must(fchown(place, 888, 888), staged);
    must(renameat(domain, staged, domain, name), name);
    close(place);
    close(domain);
    memset(row, 'x', ROW);
    must(file = openat(top, "tables", O_WRONLY | O_CREAT | O_APPEND, 0600), "tables");
    must(write(file, row, ROW), "tables");
    close(file);
}

static void look(int top, long box) {
    char path[128], text[4096];
    struct stat seen;
    int home, file;
    snprintf(path, sizeof path, "domain%03ld-example/user%04ld", box / OF_DOMAIN, box % OF_DOMAIN);
    must(fstatat(top, path, &seen, AT_SYMLINK_NOFOLLOW), path);
    must(home = openat(top, path, O_RDONLY | O_DIRECTORY), path);
    must(file = openat(home, ".qmail", O_RDONLY | O_NOFOLLOW), ".qmail");
    must(fstat(file, &seen), ".qmail");
    must(read(file, text, sizeof text), ".qmail");
    close(file);
    for (int i = 0; i < 4; i++)
        must(fstatat(home, inside[i], &seen, 0), inside[i]);
    close(home);
}

int main(int argc, char **argv) {
    int top;
    if (argc != 4)
        return 2;
    must(top = open(argv[2], O_RDONLY | O_DIRECTORY), argv[2]);
    for (long box = 0; box < atol(argv[3]); box++)
        (strcmp(argv[1], "make") ? look : make)(top, box);
    if (!strcmp(argv[1], "make"))
        sync();
    return 0;
}
