/* A thread that moves the NBD connections of one side of a copy, outside of Python's lock.
 *
 * The engine's Python decides what is read and written; this carries it out on libnbd handles: it sends requests to the
 * connection with the least to do, waits in poll(2), receives straight into the callers' buffers, and keeps what has
 * completed until Python collects it. So copying between sockets and memory runs beside hashing, and the interpreter
 * is asked once for each request and not for each time that a socket has something to say.
 *
 * Who owns what: a Request belongs to its creator and, while libnbd knows it, also to libnbd, which gives it back
 * through the callback's `free`. Python objects in it are touched under Python's lock only. The thread touches no Python.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <errno.h>
#include <libnbd.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define MOST_CONNECTIONS 16
#define MOST_CONTEXTS 4
#define NAME_BYTES 256

enum kind { READ, WRITE, ZERO, FLUSH, STATUS, KINDS };

typedef struct {
    char *context;
    uint32_t *entries;
    size_t count;
} Answer;

typedef struct Connection {
    struct nbd_handle *handle;
    PyObject *owner;
    int load;
} Connection;

struct Pump;

typedef struct Request {
    struct Request *next;
    struct Request *before, *after; /* all that Python has not collected */
    struct Pump *pump;
    Connection *connection;
    atomic_int owners;
    enum kind kind;
    uint64_t offset, length;
    int code;
    Py_buffer view;
    bool has_view;
    PyObject *token;
    Answer answers[MOST_CONTEXTS];
    int answered;
} Request;

typedef struct {
    Request *first, *last;
} Queue;

typedef struct Pump {
    PyObject_HEAD
    pthread_t thread;
    pthread_mutex_t lock; /* guards: incoming, done, count, stopping, sleeping, failure */
    bool has_lock, running;
    bool sleeping; /* the thread waits in poll(2) and nobody has rung */
    int wake, told;
    Queue incoming, done;
    Queue finished; /* the thread's alone */
    Connection connections[MOST_CONNECTIONS];
    int count;
    bool stopping;
    char failure[NAME_BYTES];
    Request *known; /* under Python's lock */
} Pump;

static void append(Queue *queue, Request *request) {
    request->next = NULL;
    if (queue->last)
        queue->last->next = request;
    else
        queue->first = request;
    queue->last = request;
}

static Queue taken(Queue *queue) {
    Queue all = *queue;
    queue->first = queue->last = NULL;
    return all;
}

static void ring(int descriptor) {
    uint64_t one = 1;
    ssize_t written = write(descriptor, &one, sizeof one);
    (void)written; /* EAGAIN: it rings already */
}

static void hush(int descriptor) {
    uint64_t count;
    ssize_t got = read(descriptor, &count, sizeof count);
    (void)got; /* EAGAIN: it was silent */
}

static void disown(void *data) {
    Request *request = data;
    if (atomic_fetch_sub(&request->owners, 1) != 1)
        return;
    for (int i = 0; i < request->answered; i++) {
        free(request->answers[i].context);
        free(request->answers[i].entries);
    }
    free(request);
}

/* -- the thread ----------------------------------------------------------------------------------------------------- */

static int completed(void *data, int *error) {
    Request *request = data;
    if (request->pump) {
        request->code = *error;
        request->connection->load--;
        append(&request->pump->finished, request);
    }
    return 1;
}

static int extents(void *data, const char *context, uint64_t offset, uint32_t *entries, size_t count, int *error) {
    Request *request = data;
    if (!request->pump || offset != request->offset)
        return 0;
    if (request->answered == MOST_CONTEXTS) {
        *error = EPROTO;
        return -1;
    }
    Answer *answer = &request->answers[request->answered];
    answer->context = strdup(context);
    answer->entries = malloc(count * sizeof *entries + 1);
    answer->count = count;
    if (!answer->context || !answer->entries) {
        free(answer->context);
        free(answer->entries);
        *error = ENOMEM;
        return -1;
    }
    memcpy(answer->entries, entries, count * sizeof *entries);
    request->answered++;
    return 0;
}

static int64_t issued(Request *request, struct nbd_handle *handle) {
    nbd_completion_callback done = {.callback = completed, .user_data = request, .free = disown};
    nbd_extent_callback found = {.callback = extents, .user_data = request};
    switch (request->kind) {
    case READ:
        return nbd_aio_pread(handle, request->view.buf, request->length, request->offset, done, 0);
    case WRITE:
        return nbd_aio_pwrite(handle, request->view.buf, request->length, request->offset, done, 0);
    case ZERO:
        return nbd_aio_zero(handle, request->length, request->offset, done, 0);
    case FLUSH:
        return nbd_aio_flush(handle, done, 0);
    case STATUS:
        return nbd_aio_block_status(handle, request->length, request->offset, found, done, 0);
    default:
        return -1;
    }
}

static bool is_gone(struct nbd_handle *handle) {
    return nbd_aio_is_dead(handle) || nbd_aio_is_closed(handle);
}

static void fail(Pump *pump, const char *prefix, const char *reason) {
    pthread_mutex_lock(&pump->lock);
    if (!pump->failure[0])
        snprintf(pump->failure, sizeof pump->failure, "%s%s", prefix, reason ? reason : "the connection was closed");
    pthread_mutex_unlock(&pump->lock);
}

static bool issue_all(Pump *pump, Queue requests, int count) {
    for (Request *request = requests.first, *next; request; request = next) {
        next = request->next;
        Connection *least = &pump->connections[0];
        for (int i = 1; i < count; i++)
            if (pump->connections[i].load < least->load)
                least = &pump->connections[i];
        request->connection = least;
        least->load++;
        atomic_fetch_add(&request->owners, 1); /* libnbd's, given back by `disown` in every case */
        if (issued(request, least->handle) < 0) {
            fail(pump, is_gone(least->handle) ? "" : "it refuses a request: ", nbd_get_error());
            return false;
        }
    }
    return true;
}

static bool move(Pump *pump, struct nbd_handle *handle, short events) {
    unsigned direction = nbd_aio_get_direction(handle);
    int result = 0;
    if ((direction & LIBNBD_AIO_DIRECTION_READ) && (events & ~POLLOUT))
        result = nbd_aio_notify_read(handle);
    else if ((direction & LIBNBD_AIO_DIRECTION_WRITE) && events)
        result = nbd_aio_notify_write(handle);
    if (result < 0 || is_gone(handle)) {
        fail(pump, "", nbd_get_error());
        return false;
    }
    return true;
}

/* Requests that have come meanwhile, and completions from within a request's sending, must not wait. */
static bool may_sleep(Pump *pump) {
    pthread_mutex_lock(&pump->lock);
    bool sleeps = !pump->incoming.first && !pump->finished.first && !pump->stopping;
    pump->sleeping = sleeps;
    pthread_mutex_unlock(&pump->lock);
    return sleeps;
}

static bool turn(Pump *pump, int count) {
    struct pollfd waiting[MOST_CONNECTIONS + 1] = {{.fd = pump->wake, .events = POLLIN}};
    for (int i = 0; i < count; i++) {
        unsigned direction = nbd_aio_get_direction(pump->connections[i].handle);
        waiting[i + 1].fd = nbd_aio_get_fd(pump->connections[i].handle);
        waiting[i + 1].events = (direction & LIBNBD_AIO_DIRECTION_READ ? POLLIN : 0) |
                                (direction & LIBNBD_AIO_DIRECTION_WRITE ? POLLOUT : 0);
    }
    if (poll(waiting, (nfds_t)count + 1, may_sleep(pump) ? -1 : 0) < 0) {
        fail(pump, "poll: ", strerror(errno)); /* not EINTR: the thread takes no signals */
        return false;
    }
    pthread_mutex_lock(&pump->lock);
    pump->sleeping = false;
    pthread_mutex_unlock(&pump->lock);
    if (waiting[0].revents)
        hush(pump->wake);
    for (int i = 0; i < count; i++)
        if (waiting[i + 1].revents && !move(pump, pump->connections[i].handle, waiting[i + 1].revents))
            return false;
    return true;
}

static void hand_over(Pump *pump) {
    Queue finished = taken(&pump->finished);
    pthread_mutex_lock(&pump->lock);
    bool tell = pump->failure[0] || (finished.first && !pump->done.first);
    if (finished.first) {
        if (pump->done.last)
            pump->done.last->next = finished.first;
        else
            pump->done.first = finished.first;
        pump->done.last = finished.last;
    }
    pthread_mutex_unlock(&pump->lock);
    if (tell)
        ring(pump->told);
}

static void *run(void *data) {
    Pump *pump = data;
    for (bool alive = true; alive;) {
        pthread_mutex_lock(&pump->lock);
        Queue incoming = taken(&pump->incoming);
        int count = pump->count;
        bool stopping = pump->stopping;
        pthread_mutex_unlock(&pump->lock);
        if (stopping)
            break;
        alive = issue_all(pump, incoming, count) && turn(pump, count);
        hand_over(pump);
    }
    return NULL;
}

/* -- what Python sees; all below holds Python's lock ---------------------------------------------------------------- */

static void forget(Request *request) {
    Pump *pump = request->pump;
    if (request->before)
        request->before->after = request->after;
    else
        pump->known = request->after;
    if (request->after)
        request->after->before = request->before;
    if (request->has_view)
        PyBuffer_Release(&request->view);
    Py_CLEAR(request->token);
    request->pump = NULL;
    disown(request);
}

static PyObject *pump_new(PyTypeObject *type, PyObject *arguments, PyObject *words) {
    if (PyTuple_GET_SIZE(arguments) || (words && PyDict_Size(words)))
        return PyErr_Format(PyExc_TypeError, "Pump takes no arguments");
    Pump *pump = (Pump *)type->tp_alloc(type, 0);
    if (!pump)
        return NULL;
    pump->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    pump->told = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (pump->wake < 0 || pump->told < 0) {
        PyErr_SetFromErrno(PyExc_OSError);
        Py_DECREF(pump);
        return NULL;
    }
    pthread_mutex_init(&pump->lock, NULL);
    pump->has_lock = true;
    return (PyObject *)pump;
}

static PyObject *pump_stop(Pump *pump, PyObject *nothing) {
    (void)nothing;
    if (pump->running) {
        pump->running = false;
        pthread_mutex_lock(&pump->lock);
        pump->stopping = true;
        pthread_mutex_unlock(&pump->lock);
        ring(pump->wake);
        Py_BEGIN_ALLOW_THREADS
        pthread_join(pump->thread, NULL);
        Py_END_ALLOW_THREADS
    }
    while (pump->known)
        forget(pump->known);
    pump->incoming = pump->done = pump->finished = (Queue){NULL, NULL};
    pump->stopping = true;
    Py_RETURN_NONE;
}

static void pump_dealloc(Pump *pump) {
    if (pump->has_lock) {
        PyObject *none = pump_stop(pump, NULL);
        Py_XDECREF(none);
        pthread_mutex_destroy(&pump->lock);
    }
    for (int i = 0; i < pump->count; i++)
        Py_CLEAR(pump->connections[i].owner);
    if (pump->wake >= 0)
        close(pump->wake);
    if (pump->told >= 0)
        close(pump->told);
    Py_TYPE(pump)->tp_free((PyObject *)pump);
}

static bool is_open(Pump *pump) {
    if (pump->stopping)
        PyErr_SetString(PyExc_ValueError, "this pump has been stopped");
    return !pump->stopping;
}

static PyObject *pump_add(Pump *pump, PyObject *owner) {
    if (!is_open(pump))
        return NULL;
    if (pump->count == MOST_CONNECTIONS)
        return PyErr_Format(PyExc_ValueError, "a pump moves at most %d connections", MOST_CONNECTIONS);
    PyObject *capsule = PyObject_GetAttrString(owner, "_o");
    if (!capsule)
        return NULL;
    struct nbd_handle *handle = PyCapsule_GetPointer(capsule, "nbd_handle");
    Py_DECREF(capsule);
    if (!handle)
        return NULL;
    if (nbd_aio_is_ready(handle) != 1)
        return PyErr_Format(PyExc_ValueError, "the connection is not ready");
    pump->connections[pump->count] = (Connection){.handle = handle, .owner = Py_NewRef(owner)};
    pthread_mutex_lock(&pump->lock);
    pump->count++;
    pthread_mutex_unlock(&pump->lock);
    if (!pump->running) {
        sigset_t all, before; /* signals are for Python's threads */
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &before);
        int code = pthread_create(&pump->thread, NULL, run, pump);
        pthread_sigmask(SIG_SETMASK, &before, NULL);
        if (code) {
            errno = code;
            return PyErr_SetFromErrno(PyExc_OSError);
        }
        pump->running = true;
    }
    ring(pump->wake);
    Py_RETURN_NONE;
}

static PyObject *submit(Pump *pump, enum kind kind, uint64_t offset, uint64_t length, PyObject *buffer, PyObject *token) {
    if (!is_open(pump))
        return NULL;
    if (!pump->count)
        return PyErr_Format(PyExc_ValueError, "this pump has no connection");
    Request *request = calloc(1, sizeof *request);
    if (!request)
        return PyErr_NoMemory();
    if (buffer) {
        if (PyObject_GetBuffer(buffer, &request->view, kind == READ ? PyBUF_WRITABLE : PyBUF_SIMPLE) < 0) {
            free(request);
            return NULL;
        }
        request->has_view = true;
        length = (uint64_t)request->view.len;
    }
    request->kind = kind;
    request->offset = offset;
    request->length = length;
    request->pump = pump;
    request->token = Py_NewRef(token);
    atomic_init(&request->owners, 1);
    request->after = pump->known;
    if (pump->known)
        pump->known->before = request;
    pump->known = request;
    pthread_mutex_lock(&pump->lock);
    bool wake = pump->sleeping;
    pump->sleeping = false;
    append(&pump->incoming, request);
    pthread_mutex_unlock(&pump->lock);
    if (wake)
        ring(pump->wake);
    Py_RETURN_NONE;
}

static PyObject *pump_read(Pump *pump, PyObject *arguments) {
    PyObject *buffer, *token, *offset;
    if (!PyArg_ParseTuple(arguments, "O!OO:read", &PyLong_Type, &offset, &buffer, &token))
        return NULL;
    uint64_t at = PyLong_AsUnsignedLongLong(offset);
    return PyErr_Occurred() ? NULL : submit(pump, READ, at, 0, buffer, token);
}

static PyObject *pump_write(Pump *pump, PyObject *arguments) {
    PyObject *buffer, *token, *offset;
    if (!PyArg_ParseTuple(arguments, "O!OO:write", &PyLong_Type, &offset, &buffer, &token))
        return NULL;
    uint64_t at = PyLong_AsUnsignedLongLong(offset);
    return PyErr_Occurred() ? NULL : submit(pump, WRITE, at, 0, buffer, token);
}

static PyObject *ranged(Pump *pump, PyObject *arguments, enum kind kind) {
    PyObject *offset, *length, *token;
    if (!PyArg_ParseTuple(arguments, "O!O!O", &PyLong_Type, &offset, &PyLong_Type, &length, &token))
        return NULL;
    uint64_t at = PyLong_AsUnsignedLongLong(offset);
    uint64_t bytes = PyErr_Occurred() ? 0 : PyLong_AsUnsignedLongLong(length);
    return PyErr_Occurred() ? NULL : submit(pump, kind, at, bytes, NULL, token);
}

static PyObject *pump_zero(Pump *pump, PyObject *arguments) { return ranged(pump, arguments, ZERO); }

static PyObject *pump_status(Pump *pump, PyObject *arguments) { return ranged(pump, arguments, STATUS); }

static PyObject *pump_flush(Pump *pump, PyObject *token) { return submit(pump, FLUSH, 0, 0, NULL, token); }

static PyObject *pairs(const Answer *answer) {
    PyObject *list = PyList_New((Py_ssize_t)(answer->count / 2));
    for (size_t i = 0; list && i < answer->count / 2; i++) {
        PyObject *pair = Py_BuildValue("(II)", answer->entries[2 * i], answer->entries[2 * i + 1]);
        if (!pair)
            Py_CLEAR(list);
        else
            PyList_SET_ITEM(list, (Py_ssize_t)i, pair);
    }
    return list;
}

static PyObject *described(const Request *request) {
    PyObject *found = PyDict_New();
    for (int i = 0; found && i < request->answered; i++) {
        PyObject *list = pairs(&request->answers[i]);
        if (!list || PyDict_SetItemString(found, request->answers[i].context, list) < 0)
            Py_CLEAR(found);
        Py_XDECREF(list);
    }
    return found;
}

static PyObject *pump_completed(Pump *pump, PyObject *nothing) {
    (void)nothing;
    PyObject *all = PyList_New(0);
    if (!all)
        return NULL;
    hush(pump->told);
    pthread_mutex_lock(&pump->lock);
    Queue done = taken(&pump->done);
    pthread_mutex_unlock(&pump->lock);
    for (Request *request = done.first, *next; request; request = next) {
        next = request->next;
        PyObject *found = all ? described(request) : NULL;
        PyObject *one = found ? Py_BuildValue("(OiN)", request->token, request->code, found) : NULL;
        if (all && (!one || PyList_Append(all, one) < 0))
            Py_CLEAR(all);
        Py_XDECREF(one);
        forget(request);
    }
    return all;
}

static PyObject *pump_fileno(Pump *pump, PyObject *nothing) {
    (void)nothing;
    return PyLong_FromLong(pump->told);
}

static PyObject *pump_failure(Pump *pump, PyObject *nothing) {
    (void)nothing;
    char copy[NAME_BYTES];
    pthread_mutex_lock(&pump->lock);
    memcpy(copy, pump->failure, sizeof copy);
    pthread_mutex_unlock(&pump->lock);
    return PyUnicode_DecodeUTF8(copy, (Py_ssize_t)strlen(copy), "replace");
}

static PyMethodDef methods[] = {
    {"add", (PyCFunction)pump_add, METH_O, "Move this connection (a ready nbd.NBD) too."},
    {"read", (PyCFunction)pump_read, METH_VARARGS, "read(offset, buffer, token)"},
    {"write", (PyCFunction)pump_write, METH_VARARGS, "write(offset, buffer, token)"},
    {"zero", (PyCFunction)pump_zero, METH_VARARGS, "zero(offset, length, token)"},
    {"status", (PyCFunction)pump_status, METH_VARARGS, "status(offset, length, token)"},
    {"flush", (PyCFunction)pump_flush, METH_O, "flush(token)"},
    {"completed", (PyCFunction)pump_completed, METH_NOARGS, "What has completed since: (token, errno, extents)."},
    {"failure", (PyCFunction)pump_failure, METH_NOARGS, "Why the pump has ended by itself; empty while it has not."},
    {"fileno", (PyCFunction)pump_fileno, METH_NOARGS, "Readable when there is something to collect."},
    {"stop", (PyCFunction)pump_stop, METH_NOARGS, "End the thread; drop what is under way."},
    {NULL, NULL, 0, NULL},
};

static PyTypeObject pump_type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "isthmus.migration.disks.pump.Pump",
    .tp_basicsize = sizeof(Pump),
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_doc = "Moves the NBD connections of one side in a thread of its own.",
    .tp_new = pump_new,
    .tp_dealloc = (destructor)pump_dealloc,
    .tp_methods = methods,
};

static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, .m_name = "pump", .m_size = -1};

PyMODINIT_FUNC PyInit_pump(void) {
    if (PyType_Ready(&pump_type) < 0)
        return NULL;
    PyObject *made = PyModule_Create(&module);
    if (made && PyModule_AddObjectRef(made, "Pump", (PyObject *)&pump_type) < 0)
        Py_CLEAR(made);
    return made;
}
