/* A lock of CPython's for which goroutines park and foreign threads block (TK1, TK2, TK3).
 *
 * Models    lock_acquire, lock_wait, lock_release_slow, lock_wake, lock_pass_on (rt/sync/threadlock.pxi).
 * World     GS goroutines and FS foreign threads, each taking the lock ROUNDS times. A goroutine that waits may give up
 *           (cancel, time-out), and one that has been woken may be thrown into before it has tried.
 * Abstract  The GIL makes each look with what follows from it one step; a foreign thread gets the lock without the
 *           GIL, in a step of its own, at any moment at which it is free.
 * Claim     One at a time is inside. Everybody comes to an end: nobody waits for ever for a lock that is free, or that
 *           somebody gives back.
 */
#ifndef GS
#define GS 3
#endif
#ifndef FS
#define FS 1
#endif
#ifndef ROUNDS
#define ROUNDS 2
#endif
#ifndef CANCELS
#define CANCELS 1
#endif
#ifndef THROWS
#define THROWS 1
#endif
#define NEW 0
#define HANDED 1
#define LOST 2

bool locked;
byte inside, woken, ended;
byte q[GS], n;                  /* who waits, the head first */
byte ok[GS], ready[GS];         /* gm_sudog.ok; the park has been won by a waker */
byte cancels = CANCELS, throws = THROWS;

inline put_last(g) { q[n] = g; n++ }

inline put_first(g)
{
    i = n;
    do
    :: i > 0 -> q[i] = q[i - 1]; i--
    :: else -> break
    od;
    q[0] = g;
    n++
}

inline take(at)                 /* x = q[at] */
{
    x = q[at];
    i = at;
    do
    :: i + 1 < n -> q[i] = q[i + 1]; i++
    :: else -> break
    od;
    n--;
    q[n] = 0
}

inline wake()
{
    if
    :: n > 0 && woken == 0 ->
        take(0);
        woken++;
        ready[x] = 1
    :: else
    fi
}

inline release()
{
    if
    :: n > 0 && ok[q[0]] == LOST ->
        take(0);
        ok[x] = HANDED;
        ready[x] = 1
#ifdef BUG_HANDED_AND_FREED
        ; locked = false
#endif
    :: else ->
        locked = false;
#ifdef BUG_NOBODY_WOKEN
#else
        wake()
#endif
    fi;
    x = 0;
    i = 0
}

proctype Goroutine(byte me)
{
    byte rounds, i, x, k, state;

again:
    if
    :: rounds == ROUNDS -> goto end
    :: else -> rounds++
    fi;
    state = NEW;
try:
#ifdef BUG_TRY_THEN_ARM
    if
    :: atomic { !locked -> locked = true; goto held }
    :: atomic { locked -> skip }
    fi;
    d_step { ok[me] = state; ready[me] = 0; if :: state == LOST -> put_first(me) :: else -> put_last(me) fi; i = 0 }
#else
    atomic {
        if
        :: !locked -> locked = true; goto held
        :: else ->
            ok[me] = state;
            ready[me] = 0;
            if
            :: state == LOST -> put_first(me)
            :: else -> put_last(me)
            fi;
            i = 0
        fi
    }
#endif
    if
    :: atomic { ready[me] == 1 ->
        if
        :: ok[me] == HANDED -> goto held
        :: else ->
#ifdef BUG_WOKEN_KEPT
#else
            woken--;
#endif
            state = LOST;
            goto try
        fi }
    :: atomic { ready[me] == 0 && cancels > 0 ->            /* gives up */
        cancels--;
        i = 0;
        do
        :: i < n && q[i] == me -> break
        :: else -> i++
        od;
        k = i;
        take(k);
        k = 0;
        x = 0; i = 0;
        goto again }
    :: atomic { ready[me] == 1 && throws > 0 ->             /* thrown into once it had been woken */
        throws--;
#ifdef BUG_NOT_PASSED_ON
        if
        :: ok[me] == HANDED -> release()
        :: else -> woken--
        fi;
#else
        if
        :: ok[me] == HANDED -> release()
        :: else ->
            woken--;
            if
            :: !locked -> wake()
            :: else
            fi
        fi;
#endif
        x = 0; i = 0;
        goto again }
    fi;
held:
    inside++;
    assert(inside == 1);
    atomic { inside--; release() }
    goto again;
end:
    ended++
}

proctype Foreign()
{
    byte rounds, i, x;
    do
    :: rounds == ROUNDS -> break
    :: else ->
        atomic { !locked -> locked = true }                 /* without the GIL */
        inside++;
        assert(inside == 1);
        atomic { inside--; release() }
        rounds++
    od;
    ended++
}

init {
    byte k;
    atomic {
        do
        :: k < GS -> run Goroutine(k); k++
        :: else -> break
        od;
        k = 0;
        do
        :: k < FS -> run Foreign(); k++
        :: else -> break
        od
    }
    timeout;                    /* nothing moves any more */
    assert(ended == GS + FS)
}
