/* Stand-ins: C functions that are set behind a built-in function or a method of a built-in type (its
 * PyMethodDef, which each call reads), so that whoever has imported it has ours.
 *
 * A C function does not learn behind which object it stands. So there are GM_STANDINS of each calling
 * convention, made by macro, and each knows its number. What it does is said in rt/io/standin.pxi.
 */
#ifndef GMPX_STANDIN_H
#define GMPX_STANDIN_H

#define GM_STANDINS 64

typedef struct {
    PyMethodDef *def;           /* what is changed; NULL: a free place */
    PyMethodDef plain;          /* as it was */
    PyObject *ours;             /* what goroutines call instead; NULL: nothing */
    int gate;                   /* GM_GATE_*: what comes before the original */
    int always;                 /* ours is for foreign threads, too */
    int is_method;
} gm_standin;

static gm_standin gm_standins[GM_STANDINS];

/* 1: call ours; 0: the original; -1: an exception is set. */
static int gm_standin_asks(gm_standin *, PyObject *, PyObject **, Py_ssize_t);
static PyObject *gm_standin_call(gm_standin *, PyObject *, PyObject **, Py_ssize_t, PyObject *);

typedef PyObject *(*gm_fast)(PyObject *, PyObject *const *, Py_ssize_t);
typedef PyObject *(*gm_var_kw)(PyObject *, PyObject *, PyObject *);
typedef PyObject *(*gm_fast_kw)(PyObject *, PyObject *const *, Py_ssize_t, PyObject *);
typedef PyObject *(*gm_fast_method)(PyObject *, PyTypeObject *, PyObject *const *, Py_ssize_t, PyObject *);

#define GM_PLAIN(s, type) ((type)(void (*)(void))(s)->plain.ml_meth)

static PyObject *gm_standin_one(gm_standin *s, PyObject *self, PyObject *a) {
    int r = gm_standin_asks(s, self, &a, a != NULL);
    if (r < 0) return NULL;
    return r ? gm_standin_call(s, self, &a, a != NULL, NULL) : s->plain.ml_meth(self, a);
}
/* VARARGS, with keywords or without: no gates have it. */
static PyObject *gm_standin_call_var(gm_standin *s, PyObject *self, PyObject *a, PyObject *kw) {
    PyObject *ours = s->ours;   /* it may be taken away meanwhile */
    PyObject *r, *all = NULL;
    Py_ssize_t i, n = PyTuple_GET_SIZE(a);
    if (s->is_method) {
        if ((all = PyTuple_New(n + 1)) == NULL) return NULL;
        PyTuple_SET_ITEM(all, 0, Py_NewRef(self));
        for (i = 0; i < n; i++) PyTuple_SET_ITEM(all, i + 1, Py_NewRef(PyTuple_GET_ITEM(a, i)));
        a = all;
    }
    Py_INCREF(ours);
    r = PyObject_Call(ours, a, kw);
    Py_DECREF(ours);
    Py_XDECREF(all);
    return r;
}
static PyObject *gm_standin_var(gm_standin *s, PyObject *self, PyObject *a) {
    int r = gm_standin_asks(s, self, NULL, 0);
    if (r < 0) return NULL;
    return r ? gm_standin_call_var(s, self, a, NULL) : s->plain.ml_meth(self, a);
}
static PyObject *gm_standin_var_kw(gm_standin *s, PyObject *self, PyObject *a, PyObject *kw) {
    int r = gm_standin_asks(s, self, NULL, 0);
    if (r < 0) return NULL;
    return r ? gm_standin_call_var(s, self, a, kw) : GM_PLAIN(s, gm_var_kw)(self, a, kw);
}
static PyObject *gm_standin_fast(gm_standin *s, PyObject *self, PyObject **a, Py_ssize_t n) {
    int r = gm_standin_asks(s, self, a, n);
    if (r < 0) return NULL;
    return r ? gm_standin_call(s, self, a, n, NULL)
             : GM_PLAIN(s, gm_fast)(self, a, n);
}
static PyObject *gm_standin_fast_kw(
        gm_standin *s, PyObject *self, PyObject **a, Py_ssize_t n, PyObject *kw) {
    int r = gm_standin_asks(s, self, a, n + (kw ? PyTuple_GET_SIZE(kw) : 0));
    if (r < 0) return NULL;
    return r ? gm_standin_call(s, self, a, n, kw) : GM_PLAIN(s, gm_fast_kw)(self, a, n, kw);
}
static PyObject *gm_standin_method(
        gm_standin *s, PyObject *self, PyTypeObject *cls, PyObject **a, Py_ssize_t n, PyObject *kw) {
    int r = gm_standin_asks(s, self, a, n + (kw ? PyTuple_GET_SIZE(kw) : 0));
    if (r < 0) return NULL;
    return r ? gm_standin_call(s, self, a, n, kw) : GM_PLAIN(s, gm_fast_method)(self, cls, a, n, kw);
}

#define GM_STANDIN(i) \
    static PyObject *gm_si_one_##i(PyObject *self, PyObject *a) { \
        return gm_standin_one(&gm_standins[i], self, a); } \
    static PyObject *gm_si_var_##i(PyObject *self, PyObject *a) { \
        return gm_standin_var(&gm_standins[i], self, a); } \
    static PyObject *gm_si_var_kw_##i(PyObject *self, PyObject *a, PyObject *kw) { \
        return gm_standin_var_kw(&gm_standins[i], self, a, kw); } \
    static PyObject *gm_si_fast_##i(PyObject *self, PyObject **a, Py_ssize_t n) { \
        return gm_standin_fast(&gm_standins[i], self, a, n); } \
    static PyObject *gm_si_fast_kw_##i(PyObject *self, PyObject **a, Py_ssize_t n, PyObject *kw) { \
        return gm_standin_fast_kw(&gm_standins[i], self, a, n, kw); } \
    static PyObject *gm_si_method_##i( \
            PyObject *self, PyTypeObject *cls, PyObject **a, Py_ssize_t n, PyObject *kw) { \
        return gm_standin_method(&gm_standins[i], self, cls, a, n, kw); }

#define GM_EIGHT(X, t) X(t##0) X(t##1) X(t##2) X(t##3) X(t##4) X(t##5) X(t##6) X(t##7)
/* 00 to 077, in octal: the numbers are the names. */
#define GM_ALL_STANDINS(X) GM_EIGHT(X, 0) GM_EIGHT(X, 01) GM_EIGHT(X, 02) GM_EIGHT(X, 03) \
    GM_EIGHT(X, 04) GM_EIGHT(X, 05) GM_EIGHT(X, 06) GM_EIGHT(X, 07)

GM_ALL_STANDINS(GM_STANDIN)

#define GM_STANDIN_ONE(i) gm_si_one_##i,
#define GM_STANDIN_VAR(i) gm_si_var_##i,
#define GM_STANDIN_VAR_KW(i) (PyCFunction)(void (*)(void))gm_si_var_kw_##i,
#define GM_STANDIN_FAST(i) (PyCFunction)(void (*)(void))gm_si_fast_##i,
#define GM_STANDIN_FAST_KW(i) (PyCFunction)(void (*)(void))gm_si_fast_kw_##i,
#define GM_STANDIN_METHOD(i) (PyCFunction)(void (*)(void))gm_si_method_##i,

/* The i-th function of a convention, or NULL: not known. */
static PyCFunction gm_standin_function(int i, int flags) {
    static const PyCFunction one[] = {GM_ALL_STANDINS(GM_STANDIN_ONE)};
    static const PyCFunction var[] = {GM_ALL_STANDINS(GM_STANDIN_VAR)};
    static const PyCFunction var_kw[] = {GM_ALL_STANDINS(GM_STANDIN_VAR_KW)};
    static const PyCFunction fast[] = {GM_ALL_STANDINS(GM_STANDIN_FAST)};
    static const PyCFunction fast_kw[] = {GM_ALL_STANDINS(GM_STANDIN_FAST_KW)};
    static const PyCFunction method[] = {GM_ALL_STANDINS(GM_STANDIN_METHOD)};
    switch (flags & ~(METH_CLASS | METH_STATIC | METH_COEXIST)) {
    case METH_NOARGS: case METH_O: return one[i];
    case METH_VARARGS: return var[i];
    case METH_VARARGS | METH_KEYWORDS: return var_kw[i];
    case METH_FASTCALL: return fast[i];
    case METH_FASTCALL | METH_KEYWORDS: return fast_kw[i];
    case METH_METHOD | METH_FASTCALL | METH_KEYWORDS: return method[i];
    default: return NULL;
    }
}

/* The PyMethodDef behind a built-in function or a method of a built-in type, or NULL. */
static PyMethodDef *gm_method_def(PyObject *f) {
    if (PyCFunction_Check(f)) return ((PyCFunctionObject *)f)->m_ml;
    if (Py_IS_TYPE(f, &PyMethodDescr_Type)) return ((PyMethodDescrObject *)f)->d_method;
    return NULL;
}

#endif
