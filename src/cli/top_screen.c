#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "cli/top.h"

/* Another screen, without a cursor; and back. */
#define ENTER "\033[?1049h\033[?25l"
#define LEAVE "\033[?25h\033[?1049l"

static struct termios before;
static bool is_open;
/* Signal handlers have no argument of their own. */
static volatile sig_atomic_t ending;
static volatile sig_atomic_t resized;
static volatile sig_atomic_t stopping;

static void on_signal(int number)
{
    if (number == SIGWINCH) {
        resized = 1;
    } else if (number == SIGTSTP) {
        stopping = 1;
    } else {
        ending = number;
    }
}

static void catch_one(int number)
{
    struct sigaction action = {.sa_handler = on_signal};
    (void)sigemptyset(&action.sa_mask);
    (void)sigaction(number, &action, NULL);
}

void dw_cli_screen_catch(void)
{
    catch_one(SIGINT);
    catch_one(SIGTERM);
    catch_one(SIGHUP);
}

static bool enter(void)
{
    struct termios own = before;
    own.c_lflag &= ~(tcflag_t)(ICANON | ECHO); /* Ctrl-C and Ctrl-Z stay signals */
    own.c_cc[VMIN] = 0;
    own.c_cc[VTIME] = 0;
    if (tcsetattr(STDIN_FILENO, TCSAFLUSH, &own) != 0) {
        return false;
    }
    dw_cli_put(ENTER, sizeof ENTER - 1);
    return dw_cli_output_flush();
}

static void leave(void)
{
    dw_cli_put(LEAVE, sizeof LEAVE - 1);
    (void)dw_cli_output_flush();
    (void)tcsetattr(STDIN_FILENO, TCSAFLUSH, &before);
}

dw_status dw_cli_screen_open(dw_error *err)
{
    if (tcgetattr(STDIN_FILENO, &before) != 0 || !enter()) {
        return dw_fail(err, DW_E_IO, "the terminal: %s", strerror(errno));
    }
    is_open = true;
    catch_one(SIGWINCH);
    catch_one(SIGTSTP);
    return DW_OK;
}

void dw_cli_screen_close(void)
{
    if (is_open) {
        is_open = false;
        leave();
    }
}

void dw_cli_screen_size(unsigned *rows, unsigned *columns)
{
    struct winsize size;
    bool known = ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_row > 0 && size.ws_col > 0;
    *rows = known ? size.ws_row : 24;
    *columns = known ? size.ws_col : 80;
}

/* To be gone on with by `fg`. */
static void stop(void)
{
    stopping = 0;
    leave();
    (void)raise(SIGSTOP);
    (void)enter();
}

static int milliseconds_until(uint64_t until_ns)
{
    uint64_t now = dw_cli_clock_ns();
    uint64_t left = until_ns > now ? (until_ns - now + 999999) / 1000000 : 0;
    return left < 1000 ? (int)left : 1000; /* a signal just before poll(2) is seen then */
}

dw_cli_happened dw_cli_screen_wait(uint64_t until_ns, int *what)
{
    struct pollfd input = {.fd = is_open ? STDIN_FILENO : -1, .events = POLLIN};
    for (;;) {
        unsigned char key = 0;
        if (ending != 0) {
            *what = ending;
            return DW_CLI_SIGNAL;
        }
        if (stopping != 0) {
            stop();
            return DW_CLI_SIZE;
        }
        if (resized != 0) {
            resized = 0;
            return DW_CLI_SIZE;
        }
        if (dw_cli_clock_ns() >= until_ns) {
            return DW_CLI_TIME_IS_UP;
        }
        if (poll(&input, 1, milliseconds_until(until_ns)) <= 0) {
            continue;
        }
        if (read(STDIN_FILENO, &key, 1) == 1) {
            *what = key;
            return DW_CLI_KEY;
        }
        if ((input.revents & (POLLHUP | POLLERR)) != 0) { /* the terminal is gone */
            *what = SIGHUP;
            return DW_CLI_SIGNAL;
        }
    }
}
