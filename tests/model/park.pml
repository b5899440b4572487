/* The park word: one G on several wait queues, one winner (K1..K4, C3, C4, T3).
 *
 * Models    park_arm, park_win, goready, waitq_put, waitq_get, waitq_remove, gopark
 *           (rt/sched/park.pxi); recv_park, chan_try_send, chan_complete (rt/sync/chan.pxi); timer_add,
 *           timer_stop, timers_batch (rt/sched/timers.pxi).
 * World     A receiver parks ROUNDS (2) times on two queues with a deadline, in the same park and
 *           sudogs. Two senders each offer an item to a queue, or keep it when nobody waits; the
 *           timer may fire in each round; somebody cancels a round, late perhaps.
 * Abstract  A queue has room for this G's one sudog. The guard of the queues (the GIL, or the
 *           object's mutex) is one lock; a look and a change under it are one step, but winning,
 *           handing over and readying are steps of their own. Waking is a counter (the inbox and
 *           its note: sleep.pml, tests/native).
 * Memory    Sequentially consistent; acquire and release of the word are claimed by tests/native.
 * Claim     Each park ends with one winner, who readies the G once; the G has an item if and only
 *           if a sender won; a sender's item is delivered or still its own; a cancel meant for
 *           one park ends no other.
 */
#define ROUNDS 2
#define READY 1
#define TIMEOUT 2
#define CANCEL 3

byte word, wakes, reason, round;
bool guard, timers, on[2], in_heap;
byte elem[2], sudog_word[2], timer_word;
byte sent, received, cancelled_round = 9;

inline lock(x)   { atomic { !x -> x = true } }
inline unlock(x) { x = false }

#ifdef BUG_NO_SEQUENCE
#define WON 0                   /* the word is 0 and 1 in turns */
#else
#define WON (w + 1)
#endif

inline park_win()
{
#ifdef BUG_PLAIN_CAS
    won = (word == w);
    if
    :: won -> word = WON
    :: else
    fi
#else
    atomic {
        won = (word == w);
        if
        :: won -> word = WON
        :: else
        fi
    }
#endif
}

inline win_with(r)              /* and goready */
{
#ifdef BUG_READY_FIRST
    wakes++; reason = r
#else
    reason = r; wakes++
#endif
}

active proctype Receiver()
{
    byte armed, i;
    do
    :: round < ROUNDS ->
        lock(guard);
        atomic {
            assert(word % 2 == 0);
            word++; armed = word; reason = 0;
            for (i : 0 .. 1) { assert(!on[i]); on[i] = true; sudog_word[i] = armed; elem[i] = 0 }
        }
        unlock(guard);
        lock(timers);
        d_step { assert(!in_heap); in_heap = true; timer_word = armed }
        unlock(timers);
        atomic { wakes > 0 -> wakes-- }
        lock(timers);
#ifndef BUG_TIMER_LEFT
        in_heap = false;
#endif
        unlock(timers);
        lock(guard);
#ifndef BUG_SUDOG_LEFT
        d_step { on[0] = false; on[1] = false }
#endif
        d_step {
            assert(wakes == 0 && word % 2 == 0);
            assert((elem[0] > 0) + (elem[1] > 0) == (reason == READY));
            assert(reason != CANCEL || cancelled_round == round);
            assert(reason > 0);
            if
            :: reason == READY -> received++
            :: else
            fi;
            round++
        }
        unlock(guard)
    :: else -> break
    od
}

active [2] proctype Sender()    /* processes 1 and 2 */
{
    byte w, q = _pid - 1, tries;
    bool won, done;
    do
    :: !done && tries < 2 ->
        tries++;
        lock(guard);
        if
        :: on[q] ->
            d_step { on[q] = false; w = sudog_word[q] }
#ifdef BUG_ELEM_FIRST
            elem[q] = _pid; done = true; sent++;
            park_win();
            if
            :: won -> win_with(READY)
            :: else
            fi
#else
            park_win();
            if
            :: won -> elem[q] = _pid; done = true; sent++; win_with(READY)
            :: else             /* it lost: dropped, the item is kept */
            fi
#endif
        :: else
        fi;
        unlock(guard)
    :: else -> break
    od
}

active proctype Timer()
{
    byte w;
    bool won;
    do
    :: round < ROUNDS ->
        lock(timers);
        if
        :: in_heap ->
            d_step { in_heap = false; w = timer_word }
            park_win();
            if
            :: won -> reason = TIMEOUT
            :: else
            fi
        :: else -> won = false
        fi;
        unlock(timers);
        if
        :: won -> wakes++
        :: else
        fi;
        won = false
    :: else -> break
    od
}

active proctype Canceller()     /* reads the word now, tries to win it later */
{
    byte w;
    bool won;
    lock(guard);
    atomic {
        if
        :: word % 2 == 1 -> w = word; cancelled_round = round
        :: else -> w = 0
        fi
    }
    unlock(guard);
    if
    :: w > 0 ->
        park_win();
        if
        :: won -> win_with(CANCEL)
        :: else
        fi
    :: else
    fi
}

init {
    timeout;
    assert(round == ROUNDS && sent == received && wakes == 0)
}
