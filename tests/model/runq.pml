/* The ring of a P: put, get, overflow, steal (R1..R5).
 *
 * Models    runq_put, runq_put_slow, runq_get, runq_grab (rt/sched/runq.pxi), each load, store and CAS
 *           one step.
 * World     The owner of a ring of SLOTS puts ITEMS in order, getting some between; THIEVES
 *           visit it, each twice. One thief at a ring of 4, two at a ring of 2.
 * Abstract  Indices do not wrap (tests/native starts close to the wrap). What a thief publishes in
 *           its own ring it just keeps. Taking is marked after the CAS, in a step of its own.
 * Memory    Sequentially consistent. R1's release and its acquire are what makes the store of the
 *           slot come before that of the tail; without (BUG_TAIL_FIRST) they change places.
 *           Weaker orders are not claimed here: tests/native runs the code under TSan.
 * Claim     Each item comes out exactly once, at the owner, a thief or the global queue; head and
 *           tail stay within R3; each taker sees items in the order of their puts.
 */
#ifndef SLOTS
#define SLOTS 4
#endif
#ifndef ITEMS
#define ITEMS 6
#endif
#ifndef THIEVES
#define THIEVES 1
#endif
#define HALF (SLOTS / 2)

byte slot[SLOTS], head, tail;
byte seen[ITEMS + 1];
byte owner_last;

inline out(x) { assert(x > 0 && seen[x] == 0); seen[x]++ }

inline cas_head(from, to)
{
#ifdef BUG_BLIND_ADD
    d_step { won = true; head = head + (to - from) }
#else
#ifdef BUG_PLAIN_CAS
    won = (head == from);
    if
    :: won -> head = to
    :: else
    fi
#else
    atomic {
        won = (head == from);
        if
        :: won -> head = to; assert(head <= tail)
        :: else
        fi
    }
#endif
#endif
}

inline get()
{
    h = head;
    if
    :: h == tail -> dry = true
    :: else ->
        g = slot[h % SLOTS];
        cas_head(h, h + 1);
        if
        :: won -> d_step { out(g); assert(g > owner_last); owner_last = g; g = 0; won = false }
        :: else
        fi
    fi
}

active proctype Owner()
{
    byte h, g, i, k = 1, batch[HALF];
    bool won, dry;
    do
    :: k <= ITEMS ->
        h = head;
        if
        :: tail - h < SLOTS ->
#ifdef BUG_TAIL_FIRST
            tail++; slot[(tail - 1) % SLOTS] = k;
#else
            slot[tail % SLOTS] = k; tail++;
#endif
            assert(tail - head <= SLOTS);
            k++
        :: else ->              /* runq_put_slow */
            d_step { for (i : 0 .. HALF - 1) { batch[i] = slot[(h + i) % SLOTS] } i = 0 }
            cas_head(h, h + HALF);
            if
            :: won -> d_step {
                    for (i : 0 .. HALF - 1) {
                        out(batch[i]); assert(batch[i] > owner_last); owner_last = batch[i];
                        batch[i] = 0
                    }
                    out(k); k++; i = 0; won = false
                }
            :: else             /* a thief was faster */
            fi
        fi;
        h = 0
    :: k > 1 -> get(); d_step { dry = false; h = 0; g = 0 }
    :: k > ITEMS -> break
    od;
    dry = false;
    do
    :: !dry -> get()
    :: else -> break
    od
}

active [THIEVES] proctype Thief()
{
    byte h, n, i, last, got[HALF], visits;
    bool won;
    do
    :: visits < 2 ->
        h = head;
        n = tail - h;
        d_step { n = n - n / 2; if :: n > HALF -> n = 0 :: else fi }
        if
        :: n == 0
        :: else ->
#ifndef BUG_COPY_LATE
            i = 0;
            do
            :: i < n -> got[i] = slot[(h + i) % SLOTS]; i++
            :: else -> break
            od;
#endif
            cas_head(h, h + n);
#ifdef BUG_COPY_LATE
            i = 0;
            do
            :: i < n && won -> got[i] = slot[(h + i) % SLOTS]; i++
            :: else -> break
            od;
#endif
            if
            :: won -> d_step {
                    for (i : 0 .. n - 1) { out(got[i]); assert(got[i] > last); last = got[i] }
                }
            :: else
            fi
        fi;
        d_step { visits++; h = 0; n = 0; i = 0; won = false; got[0] = 0; got[HALF - 1] = 0 }
    :: else -> break
    od
}

init {
    byte i;
    timeout;
    d_step { for (i : 1 .. ITEMS) { assert(seen[i] == 1) } assert(head == tail) }
}
