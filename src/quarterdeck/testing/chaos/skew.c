/* A wall clock that is off by what a file says, for the process that it is preloaded into and the git it starts.

   Rules
   - The file holds two numbers: the seconds by which the clock is off (a double), and how often it was asked while it
     was off (a 64-bit integer).
   - Nothing else moves: monotonic clocks, timers, waits and the times of files are the kernel's.
   - The environment is as it was without us, so that no child finds anything of this but git. */

#define _GNU_SOURCE
#include <alloca.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

struct view {
    volatile double seconds;
    uint64_t asked;
};

static struct view *view;
static char library[4096], clock_file[4096];
static int (*real_gettime)(clockid_t, struct timespec *);
static int (*real_execve)(const char *, char *const[], char *const[]);

__attribute__((constructor)) static void begin(void)
{
    const char *file = getenv("CHAOS_CLOCK"), *self = getenv("LD_PRELOAD");
    real_gettime = dlsym(RTLD_NEXT, "clock_gettime");
    real_execve = dlsym(RTLD_NEXT, "execve");
    if (file == NULL || self == NULL)
        return;
    snprintf(clock_file, sizeof clock_file, "CHAOS_CLOCK=%s", file);
    snprintf(library, sizeof library, "LD_PRELOAD=%s", self);
    int fd = open(file, O_RDWR | O_CLOEXEC);
    if (fd >= 0) {
        void *found = mmap(NULL, sizeof(struct view), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        if (found != MAP_FAILED)
            view = found;
        close(fd);
    }
    unsetenv("CHAOS_CLOCK");
    unsetenv("LD_PRELOAD");
}

static void shift(struct timespec *now)
{
    double seconds = view == NULL ? 0.0 : view->seconds;
    if (seconds != 0.0) {
        now->tv_sec += (time_t)seconds;
        __atomic_add_fetch(&view->asked, 1, __ATOMIC_RELAXED);
    }
}

int clock_gettime(clockid_t which, struct timespec *now)
{
    if (real_gettime == NULL)
        real_gettime = dlsym(RTLD_NEXT, "clock_gettime");
    int done = real_gettime(which, now);
    if (done == 0 && (which == CLOCK_REALTIME || which == CLOCK_REALTIME_COARSE))
        shift(now);
    return done;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone)
{
    (void)zone;
    struct timespec found;
    if (clock_gettime(CLOCK_REALTIME, &found) != 0)
        return -1;
    now->tv_sec = found.tv_sec;
    now->tv_usec = found.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *to)
{
    struct timespec found;
    clock_gettime(CLOCK_REALTIME, &found);
    if (to != NULL)
        *to = found.tv_sec;
    return found.tv_sec;
}

/* Called between vfork and the new program, so nothing may be allocated here. */
int execve(const char *path, char *const arguments[], char *const environment[])
{
    const char *name = strrchr(path, '/');
    if (view == NULL || environment == NULL || strcmp(name == NULL ? path : name + 1, "git") != 0)
        return real_execve(path, arguments, environment);
    size_t count = 0;
    while (environment[count] != NULL)
        count++;
    char **more = alloca((count + 3) * sizeof *more);
    memcpy(more, environment, count * sizeof *more);
    more[count] = library;
    more[count + 1] = clock_file;
    more[count + 2] = NULL;
    return real_execve(path, arguments, more);
}
