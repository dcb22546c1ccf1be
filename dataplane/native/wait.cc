#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <uv.h>

#include <algorithm>

#include "addon.h"

namespace {

constexpr size_t kEvents = 64;

// (poll, descriptor, tag, 1 to wait for room as well)
int64_t control(Call& call, int operation) {
  const int32_t poll = call.descriptor(0), fd = call.descriptor(1);
  epoll_event event{};
  if (operation != EPOLL_CTL_DEL) {
    event.data.u64 = static_cast<uint32_t>(call.integer(2));
    event.events = EPOLLIN | EPOLLRDHUP | (call.integer(3) != 0 ? EPOLLOUT : 0u);
  }
  return call.failed() ? 0 : call.checked("epoll_ctl", epoll_ctl(poll, operation, fd, &event));
}

// A descriptor watched by the event loop. Lives as long as the environment: the stop function may be kept.
struct Watch {
  napi_env env;
  uv_poll_t poll;
  napi_ref callback = nullptr;
  napi_async_cleanup_hook_handle hook = nullptr;
  bool closing = false;

  void stop() {
    if (closing) return;
    closing = true;
    napi_delete_reference(env, callback);
    uv_close(reinterpret_cast<uv_handle_t*>(&poll), [](uv_handle_t* handle) {
      napi_remove_async_cleanup_hook(static_cast<Watch*>(handle->data)->hook);
    });
  }
};

void onReadable(uv_poll_t* handle, int status, int) {
  const auto* watch = static_cast<Watch*>(handle->data);
  napi_env env = watch->env;
  napi_handle_scope scope;
  napi_value callback, receiver, error;
  if (napi_open_handle_scope(env, &scope) != napi_ok) return;
  napi_get_reference_value(env, watch->callback, &callback);
  napi_get_global(env, &receiver);
  if (napi_make_callback(env, nullptr, receiver, callback, 0, nullptr, nullptr) == napi_pending_exception &&
      napi_get_and_clear_last_exception(env, &error) == napi_ok)
    napi_fatal_exception(env, error);
  napi_close_handle_scope(env, scope);
  // The loop stops at an error of the descriptor, which the callback took by reading.
  if (status < 0 && !watch->closing) uv_poll_start(handle, UV_READABLE, onReadable);
}

napi_value stopWatch(napi_env env, napi_callback_info info) {
  void* watch = nullptr;
  if (napi_get_cb_info(env, info, nullptr, nullptr, nullptr, &watch) == napi_ok) static_cast<Watch*>(watch)->stop();
  return nullptr;
}

}  // namespace

int64_t exported::monotonicNs(Call&) { return static_cast<int64_t>(uv_hrtime()); }
int64_t exported::pollCreate(Call& call) {
  prctl(PR_SET_TIMERSLACK, 1);  // of this thread: pauses are microseconds
  return call.checked("epoll_create1", epoll_create1(EPOLL_CLOEXEC));
}
int64_t exported::hideMemory(Call& call) { return call.checked("prctl", prctl(PR_SET_DUMPABLE, 0)); }
int64_t exported::pollAdd(Call& call) { return control(call, EPOLL_CTL_ADD); }
int64_t exported::pollModify(Call& call) { return control(call, EPOLL_CTL_MOD); }
int64_t exported::pollRemove(Call& call) { return control(call, EPOLL_CTL_DEL); }

int64_t exported::pause(Call& call) {
  const int32_t us = call.integer(0);
  if (us < 0 || us > 1000) call.rangeError("Expected up to 1,000 microseconds");
  return call.failed() ? 0 : usleep(static_cast<useconds_t>(us));
}

int64_t exported::pollWait(Call& call) {
  const int32_t poll = call.descriptor(0), timeoutMs = call.integer(1);
  const Bytes tags = call.facts(2, 1), events = call.bytes(3, 1);
  if (call.failed()) return 0;
  epoll_event found[kEvents];
  const auto room = static_cast<int>(std::min({tags.size, events.size, kEvents}));
  const int count = epoll_wait(poll, found, room, std::max(timeoutMs, -1));
  if (count < 0) return errno == EINTR ? 0 : -errno;
  for (int i = 0; i < count; i++) {
    const uint32_t bits = found[i].events;
    const bool hangUp = (bits & (EPOLLHUP | EPOLLRDHUP | EPOLLERR)) != 0;
    reinterpret_cast<int32_t*>(tags.data)[i] = static_cast<int32_t>(found[i].data.u32);
    events.data[i] = static_cast<uint8_t>((bits & EPOLLIN ? 1 : 0) | (bits & EPOLLOUT ? 2 : 0) | (hangUp ? 4 : 0));
  }
  return count;
}

int64_t exported::eventCreate(Call& call) { return call.checked("eventfd", eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)); }

// EAGAIN: signalled already, or cleared already.
int64_t exported::eventSignal(Call& call) {
  const int32_t fd = call.descriptor(0);
  return call.failed() || eventfd_write(fd, 1) == 0 || errno == EAGAIN ? 0 : call.systemError("eventfd", errno);
}

int64_t exported::eventClear(Call& call) {
  const int32_t fd = call.descriptor(0);
  eventfd_t value;
  return call.failed() || eventfd_read(fd, &value) == 0 || errno == EAGAIN ? 0 : call.systemError("eventfd", errno);
}

int64_t exported::watchReadable(Call& call) {
  const int32_t fd = call.descriptor(0);
  napi_valuetype type = napi_undefined;
  uv_loop_t* loop = nullptr;
  napi_typeof(call.env, call.args[1], &type);
  if (type != napi_function) call.typeError("Expected a function");
  if (call.failed()) return 0;
  const auto owned = std::make_shared<Watch>();
  Watch* watch = owned.get();
  watch->env = call.env;
  watch->poll.data = watch;
  const int error = napi_get_uv_event_loop(call.env, &loop) == napi_ok ? uv_poll_init(loop, &watch->poll, fd) : UV_EINVAL;
  if (error != 0) return call.systemError("watch descriptor", -error);
  call.instance->watches.push_back(owned);
  napi_create_reference(call.env, call.args[1], 1, &watch->callback);
  const auto onTeardown = [](napi_async_cleanup_hook_handle, void* data) { static_cast<Watch*>(data)->stop(); };
  napi_add_async_cleanup_hook(call.env, onTeardown, watch, &watch->hook);
  uv_poll_start(&watch->poll, UV_READABLE, onReadable);
  napi_create_function(call.env, "stop", NAPI_AUTO_LENGTH, stopWatch, watch, &call.object);
  return 0;
}
