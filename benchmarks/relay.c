/* Copies bytes between its own stdio and a child's, and does nothing else: what any process in between costs.
 *
 * Usage: relay COMMAND [ARGUMENT...].  Gives the child's exit status.
 */
#include <pthread.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

struct way {
    int from, to;
};

static void *copy(void *argument)
{
    const struct way *way = argument;
    char bytes[1 << 16]; /* as much as a pipe holds */
    ssize_t got, put;

    while ((got = read(way->from, bytes, sizeof bytes)) > 0)
        for (ssize_t done = 0; done < got; done += put)
            if ((put = write(way->to, bytes + done, got - done)) < 0)
                return NULL;
    close(way->to);
    return NULL;
}

int main(int count, char **words)
{
    int down[2], up[2], problem, status;
    pid_t child;
    pthread_t thread;
    posix_spawn_file_actions_t actions;

    if (count < 2 || pipe(down) || pipe(up)) {
        fputs("usage: relay COMMAND [ARGUMENT...]\n", stderr);
        return 2;
    }
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, down[0], STDIN_FILENO);
    posix_spawn_file_actions_adddup2(&actions, up[1], STDOUT_FILENO);
    for (int end = 0; end < 2; end++) {
        posix_spawn_file_actions_addclose(&actions, down[end]);
        posix_spawn_file_actions_addclose(&actions, up[end]);
    }
    problem = posix_spawnp(&child, words[1], &actions, NULL, words + 1, environ);
    if (problem) {
        fprintf(stderr, "relay: cannot start `%s`: %s\n", words[1], strerror(problem));
        return 127;
    }
    close(down[0]);
    close(up[1]);

    struct way to_child = {STDIN_FILENO, down[1]}, from_child = {up[0], STDOUT_FILENO};
    if (pthread_create(&thread, NULL, copy, &to_child))
        return 1;
    copy(&from_child);
    if (waitpid(child, &status, 0) < 0)
        return 1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
