/* checkpw - the smallest checkpassword over a poppasswd file, for the peers of the bench: reads the file from its start,
 * crypt(3), 888:888, chdir, exec. usage: checkpw POPPASSWD SUBPROGRAM [ARG...] */
#define _GNU_SOURCE
#include <crypt.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int main(int argc, char **argv) {
    char input[513], line[1024];
    int length = 0, got;
    if (argc < 3) return 2;
    while ((got = read(3, input + length, 512 - length)) > 0) length += got;
    close(3);
    input[length] = 0;
    char *password = input + strlen(input) + 1;
    if (password > input + length) return 2;
    FILE *file = fopen(argv[1], "r");
    while (file && fgets(line, sizeof line, file)) {
        char *login = strtok(line, ":"), *stored = strtok(NULL, ":"), *home = (strtok(NULL, ":"), strtok(NULL, "\n"));
        if (!home || strcmp(login, input)) continue;
        char *made = crypt(password, stored);
        if (!made || strcmp(made, stored)) return 1;
        fclose(file);
        gid_t group = 888;
        if (!geteuid() && (setgroups(1, &group) || setgid(888) || setuid(888))) return 111;
        if (chdir(home)) return 111;
        setenv("USER", "popuser", 1);
        setenv("HOME", home, 1);
        execvp(argv[2], argv + 2);
        return 111;
    }
    return file ? 1 : 111;
}
