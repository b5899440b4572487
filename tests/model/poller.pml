/* The poller's role and timers (W3, T4; the role is passed on).
 *
 * Models    stop_m, sleep_m, poll_deadline, poll_leave, poll_pass_on, poll_wake_before
 *           (rt/sched/poll.pxi);
 *           timer_add, timers_run (rt/sched/timers.pxi); find_work's order (rt/sched/proc.pxi).
 * World     MS (2, 3) Ms. Each starts with a G, which may add a timer of M's own (the earlier, the
 *           lower M's number) and then parks, or computes for ever (one of them). Another thread
 *           readies a G of M1 and of M2. The poller may time out as soon as it has a deadline; with
 *           FAR it never does.
 * Abstract  Ps, rings and spinning are sleep.pml's. The watch (W4) asks for the poller as a timer
 *           does, but rests on the clock: not modelled.
 * Memory    Sequentially consistent; next_when and poll_until are seqcst in the code, and what
 *           they forbid is modelled by the look that comes before the store (BUG_LOOK_FIRST).
 * Claim     When nothing moves any more and the timer of a sleeping M stands first, somebody
 *           sleeps with a time-out no later than it; no M sleeps with a G in its inbox.
 */
#define NONE 9
#define INF  8
#ifndef MS
#define MS   2
#endif
#define NM   3                  /* of the arrays */

byte inbox[NM], note_state[NM] = 1, sem[NM];
bool timer[NM], midle[NM], asleep[NM], busy[NM];
byte next_when = INF, poll_until, poller = NONE, until[NM] = INF;
byte endless = 1;
bool lk, tlk, over;
#ifdef FAR
bool late = false;              /* the deadlines are far away */
#else
bool late = true;
#endif

inline lock(x)   { atomic { !x -> x = true } }
inline unlock(x) { x = false }

inline note_wakeup(x)
{
    atomic {
        if
        :: note_state[x] == 0 -> note_state[x] = 1; post = true
        :: else -> post = false
        fi
    }
    d_step {
        if
        :: post -> assert(sem[x] == 0); sem[x]++; post = false
        :: else
        fi
    }
}

inline note_cancel()
{
    atomic {
        if
        :: note_state[me] == 0 -> note_state[me] = 1; post = false
        :: else -> post = true
        fi
    }
    atomic {
        if
        :: post -> sem[me] > 0; sem[me]--; post = false
        :: else
        fi
    }
}

#define WHEN(x) (2 * (x) + 1)   /* 0 is poll_until's "no poller" */

inline timer_add()
{
    lock(tlk);
#ifdef BUG_LOOK_FIRST
    won = (poll_until <= WHEN(me));
#endif
    d_step {
        timer[me] = true;
        if
        :: next_when > WHEN(me) -> next_when = WHEN(me); q = 1
        :: else -> q = 0
        fi
    }
    unlock(tlk);
    if
    :: q == 1 ->                /* poll_wake_before */
#ifndef BUG_LOOK_FIRST
        won = (poll_until <= WHEN(me));
#endif
        if
        :: !won ->
            lock(lk);
            q = poller;
            if
            :: q != NONE -> note_wakeup(q)
            :: else
            fi;
            unlock(lk)
        :: else
        fi
    :: else
    fi;
    won = false; q = NONE
}

inline poll_pass_on()
{
#ifdef BUG_NO_PASS_ON
    skip
#else
    if
    :: poller != NONE
    :: else ->
        if
        :: next_when == INF
        :: else ->
            lock(lk);
            if
            :: midle[0] -> note_wakeup(0)
            :: midle[1] -> note_wakeup(1)
            :: midle[2] -> note_wakeup(2)
            :: else
            fi;
            unlock(lk)
        fi
    fi
#endif
}

inline first_when()             /* timers_note_first */
{
    if
    :: timer[0] -> next_when = WHEN(0)
    :: !timer[0] && timer[1] -> next_when = WHEN(1)
    :: !timer[0] && !timer[1] && timer[2] -> next_when = WHEN(2)
    :: else -> next_when = INF
    fi
}

proctype M(byte me)
{
    byte q = NONE, x;
    bool post, won, role, timed_out;

runs:
    if
    :: timer_add()
    :: true
    fi;
    if
    :: atomic { endless > 0 -> endless--; busy[me] = true } goto computes
    :: true
    fi;

find_work:
    if
    :: timed_out ->
        timed_out = false;
        lock(tlk);
        atomic {
            if
            :: next_when < INF -> x = (next_when - 1) / 2; timer[x] = false; first_when()
            :: else -> x = NONE
            fi
        }
        unlock(tlk);
        if
        :: x == NONE
        :: x == me -> x = 0; poll_pass_on(); goto find_work      /* it parks again at once */
        :: else -> inbox[x]++; note_wakeup(x); x = 0
        fi
    :: else
    fi;
    x = 0;
    if
    :: inbox[me] > 0 ->
        inbox[me] = 0;
#ifdef BUG_ROLE_KEPT
        if
        :: !role -> poll_pass_on()
        :: else
        fi;
#else
        poll_pass_on();
#endif
        if
        :: atomic { endless > 0 -> endless--; busy[me] = true } goto computes
        :: goto find_work
        fi
    :: else
    fi;

    atomic { note_state[me] = 0; assert(sem[me] == 0) }
    lock(lk); midle[me] = true; unlock(lk);
    atomic {
        if
        :: poller == NONE -> poller = me; role = true
        :: else
        fi
    }
    if
    :: role ->                  /* poll_deadline */
        do
        :: true ->
            until[me] = next_when;
            poll_until = until[me];
#ifdef BUG_DEADLINE_ONCE
            break
#else
            if
            :: next_when >= until[me] -> break
            :: else
            fi
#endif
        od
    :: else
    fi;
    if
    :: inbox[me] > 0 -> note_cancel()
    :: else ->
        asleep[me] = true;
        if
        :: atomic { sem[me] > 0 -> sem[me]--; asleep[me] = false }
        :: atomic { until[me] < INF && late -> asleep[me] = false }
            timed_out = true; note_cancel()
        fi
    fi;
    until[me] = INF;
    lock(lk); midle[me] = false; unlock(lk);
#ifndef BUG_ROLE_KEPT
    if
    :: role -> poll_until = 0; poller = NONE; role = false       /* poll_leave */
    :: else
    fi;
#endif
    goto find_work;

computes:
    over
}

proctype Readier()
{
    bool post;
    inbox[1]++; note_wakeup(1);
    if
    :: MS == 3 -> inbox[2]++; note_wakeup(2)
    :: else
    fi
}

#define FIRST(x) (next_when == WHEN(x) && asleep[x])

init {
    byte i;
    atomic {
        run M(0); run M(1);
        if
        :: MS == 3 -> run M(2)
        :: else
        fi;
        run Readier()
    }
    timeout;
    atomic {
        for (i : 0 .. MS - 1) {
            assert(asleep[i] || busy[i]);
            assert(!asleep[i] || inbox[i] == 0)
        }
        assert(!lk && !tlk);
        if
        :: FIRST(0) || FIRST(1) || FIRST(2) ->
            assert(poller != NONE && asleep[poller] && until[poller] <= next_when)
        :: else
        fi
    }
    over = true
}
