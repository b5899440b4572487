/* M0's deep sleep: no signal and no deadlock is slept through (W6).
 *
 * Models    m_deep_begin, m_deep_end, check_signals, main_looks_again (rt/life/signals.pxi);
 *           look_for_life, deadlock_look (rt/observe/dump.pxi); find_runnable, find_housekeep
 *           (rt/sched/proc.pxi), stop_m, sleep_until (rt/sched/sleep.pxi); ALONE: park_alone,
 *           alone_looks (rt/life/mainthread.pxi); note_poll (rt/platform/note.pxi), gm_break_wake,
 *           gm_break_drain (rt/platform/breaker.h); CPython's C signal handler.
 * World     M0 has nothing to run. M1 has a timer, which fires some time; then it runs, and parks for
 *           good. A foreign thread runs, then parks for good or ends. HANDLER: a signal handler of
 *           the user's is installed, so that no look finds a deadlock; the signal comes at any
 *           moment, on any thread. ALONE: M0 is kept to one goroutine, which is parked.
 * Abstract  A sleep that is not deep ends by itself, as does a deep one after which M0 is to look
 *           again; the others' time before they ask M0 to look (LOOK_AFTER_NS) is up at once.
 *           A look is one step (it holds the GIL). The pipe is full or empty.
 * Memory    Sequentially consistent: the GIL, atomics and system calls order all of it.
 * Claim     When nothing moves any more M0 has handled the signal, or told the deadlock; it does
 *           not sleep. It tells none while another may still run.
 * Found     The sound protocol here is not the code's in three places.
 *           BUG_ALONE_LOOK_FIRST: alone_looks looks at the signals, then m_deep_begin sets the
 *           descriptor, and park_alone sleeps.
 *           BUG_ONLY_BLOCKED: main_looks_again wakes M0 only if it is on midle, where it is not while
 *           it is parked alone.
 *           BUG_NO_FLAG: what main_looks_again does after M0's look and before its m_sleep_begin is
 *           lost: a flag is to be looked at after that.
 */
#define AWAKE   1
#define POLLING 2
#define ASLEEP  0

#define TIMER  0
#define RUNS   1
#define PARKED 2

byte note = AWAKE, m1 = TIMER, foreign = RUNS;
bool tripped, wakeup_fd, pipe;  /* CPython's; the descriptor is the breaker's; something is in it */
bool midle, anew, told, handled, asked;

inline wake_m0()
{
    atomic {
        if
        :: note == POLLING -> note = AWAKE; pipe = true
        :: else -> note = AWAKE
        fi
    }
}

inline main_looks_again()
{
#ifndef BUG_NOT_ASKED
#ifndef BUG_NO_FLAG
    anew = true;
#endif
#ifdef BUG_ONLY_BLOCKED
    if
    :: midle -> wake_m0()
    :: else
    fi
#else
    wake_m0()
#endif
#else
    skip
#endif
}

inline check_signals()
{
    if
    :: tripped -> handled = true; goto over
    :: else
    fi
}

inline deadlock_look()          /* again: life that may end without a word */
{
#ifdef BUG_FLAG_CLEARED_LATE
    skip;
#else
    anew = false;
#endif
    atomic {
        if
#ifdef HANDLER
        :: true -> again = false
#else
        :: m1 == RUNS -> again = true
        :: m1 == TIMER -> again = false         /* an M will run, and ask */
        :: m1 == PARKED && foreign == RUNS -> again = true
        :: else -> told = true; goto over
#endif
        fi
    }
#ifdef BUG_FLAG_CLEARED_LATE
    anew = false
#endif
}

inline m_deep_begin() { wakeup_fd = true; deep = true }

inline m_deep_end() { wakeup_fd = false; pipe = false; deep = false }

active proctype M0()
{
    bool deep, again, ended;

    do
    :: true ->
#ifndef ALONE
#ifdef BUG_LOOK_FIRST
        if
        :: !deep -> check_signals()
        :: else
        fi;
#else
        check_signals();                        /* find_runnable */
#endif
#endif
        note = (deep -> POLLING : ASLEEP);      /* m_sleep_begin */
#ifndef ALONE
        midle = true;
#endif
        ended = false;
        if
        :: deep && anew -> note = AWAKE
        :: else ->
            if
            :: deep && pipe                     /* what is in it stays till m_deep_end */
            :: !deep || again -> ended = true   /* by itself; or woken, which matters less */
            fi;
            note = AWAKE
        fi;
        midle = false;
#ifdef ALONE
        if                                      /* alone_looks */
        :: deep -> m_deep_end(); check_signals()
        :: else -> check_signals()
        fi;
        if
        :: ended -> deadlock_look(); m_deep_begin();
#ifndef BUG_ALONE_LOOK_FIRST
            check_signals()
#endif
        :: else
        fi
#else
        if
        :: deep -> m_deep_end()
        :: else
        fi;
        if
        :: ended ->                             /* find_housekeep */
#ifdef BUG_LOOK_FIRST
            check_signals();
#endif
            deadlock_look(); m_deep_begin()
        :: else
        fi
#endif
    od;
over:
    skip
}

active proctype M1()
{
    m1 = RUNS;
    m1 = PARKED;
    main_looks_again()
}

active proctype Foreign()
{
    foreign = PARKED;
    main_looks_again()
}

#ifdef HANDLER
active proctype Signal()
{
#ifdef BUG_WRITES_FIRST
    if
    :: wakeup_fd -> pipe = true
    :: else
    fi;
    tripped = true
#else
    tripped = true;
    if
    :: wakeup_fd -> pipe = true
    :: else
    fi
#endif
}

#endif

init {
    timeout;
    assert(told || handled);
    assert(!told || (m1 == PARKED && foreign == PARKED))
}
