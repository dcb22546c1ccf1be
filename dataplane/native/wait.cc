#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include <uv.h>

#include <algorithm>
#include <cerrno>

#include "addon.h"

namespace {

constexpr int kEvents = 64;

napi_value control(napi_env env, napi_callback_info info, int operation) {
  Call call(env, info);
  const int32_t poll = call.descriptor(0), fd = call.descriptor(1);
  epoll_event event{};
  if (operation != EPOLL_CTL_DEL) {
    event.data.u64 = static_cast<uint32_t>(call.integer(2));
    event.events = EPOLLIN | EPOLLRDHUP | (call.boolean(3) ? EPOLLOUT : 0u);
  }
  if (!call.failed() && epoll_ctl(poll, operation, fd, &event) != 0) call.systemError("epoll_ctl", errno);
  return nullptr;
}

// A descriptor watched by the event loop. Freed when both the loop and the stop function are done with it.
struct Watch {
  napi_env env;
  uv_poll_t poll;
  napi_ref callback = nullptr;
  napi_async_context context = nullptr;
  napi_async_cleanup_hook_handle hook = nullptr;
  bool closing = false;
  int owners = 1;

  void release() {
    if (--owners == 0) delete this;
  }
  void stop();
};

void Watch::stop() {
  if (closing) return;
  closing = true;
  uv_poll_stop(&poll);
  napi_delete_reference(env, callback);
  napi_async_destroy(env, context);
  uv_close(reinterpret_cast<uv_handle_t*>(&poll), [](uv_handle_t* handle) {
    auto* watch = static_cast<Watch*>(handle->data);
    napi_remove_async_cleanup_hook(watch->hook);
    watch->release();
  });
}

void onReadable(uv_poll_t* handle, int, int) {
  auto* watch = static_cast<Watch*>(handle->data);
  napi_env env = watch->env;
  napi_handle_scope scope;
  napi_value callback, receiver, error;
  if (napi_open_handle_scope(env, &scope) != napi_ok) return;
  if (napi_get_reference_value(env, watch->callback, &callback) == napi_ok && napi_get_global(env, &receiver) == napi_ok &&
      napi_make_callback(env, watch->context, receiver, callback, 0, nullptr, nullptr) == napi_pending_exception &&
      napi_get_and_clear_last_exception(env, &error) == napi_ok)
    napi_fatal_exception(env, error);
  napi_close_handle_scope(env, scope);
}

napi_value stopWatch(napi_env env, napi_callback_info info) {
  void* data = nullptr;
  if (napi_get_cb_info(env, info, nullptr, nullptr, nullptr, &data) == napi_ok) static_cast<Watch*>(data)->stop();
  return nullptr;
}

}  // namespace

napi_value pollCreate(napi_env env, napi_callback_info info) {
  Call call(env, info);
  const int fd = epoll_create1(EPOLL_CLOEXEC);
  return fd < 0 ? call.systemError("epoll_create1", errno) : call.result(fd);
}

napi_value pollAdd(napi_env env, napi_callback_info info) { return control(env, info, EPOLL_CTL_ADD); }
napi_value pollModify(napi_env env, napi_callback_info info) { return control(env, info, EPOLL_CTL_MOD); }
napi_value pollRemove(napi_env env, napi_callback_info info) { return control(env, info, EPOLL_CTL_DEL); }

napi_value pollWait(napi_env env, napi_callback_info info) {
  Call call(env, info);
  const int32_t poll = call.descriptor(0), timeoutMs = call.integer(1);
  const Bytes tags = call.array(2, napi_int32_array, 1), events = call.bytes(3, 1);
  if (call.failed()) return nullptr;
  epoll_event found[kEvents];
  const int room = static_cast<int>(std::min<size_t>({tags.size, events.size, kEvents}));
  const int count = epoll_wait(poll, found, room, std::max(timeoutMs, -1));
  if (count < 0) return call.result(errno == EINTR ? 0 : -errno);
  for (int i = 0; i < count; i++) {
    const uint32_t bits = found[i].events;
    reinterpret_cast<int32_t*>(tags.data)[i] = static_cast<int32_t>(static_cast<uint32_t>(found[i].data.u64));
    events.data[i] = static_cast<uint8_t>((bits & EPOLLIN ? 1 : 0) | (bits & EPOLLOUT ? 2 : 0) |
                                          (bits & (EPOLLHUP | EPOLLRDHUP | EPOLLERR) ? 4 : 0));
  }
  return call.result(count);
}

napi_value eventCreate(napi_env env, napi_callback_info info) {
  Call call(env, info);
  const int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  return fd < 0 ? call.systemError("eventfd", errno) : call.result(fd);
}

napi_value eventSignal(napi_env env, napi_callback_info info) {
  Call call(env, info);
  const int32_t fd = call.descriptor(0);
  // EAGAIN: the counter is full, so it is signalled already.
  if (!call.failed() && eventfd_write(fd, 1) != 0 && errno != EAGAIN) call.systemError("eventfd", errno);
  return nullptr;
}

napi_value eventClear(napi_env env, napi_callback_info info) {
  Call call(env, info);
  const int32_t fd = call.descriptor(0);
  eventfd_t value;
  if (!call.failed() && eventfd_read(fd, &value) != 0 && errno != EAGAIN) call.systemError("eventfd", errno);
  return nullptr;
}

napi_value watchReadable(napi_env env, napi_callback_info info) {
  Call call(env, info);
  const int32_t fd = call.descriptor(0);
  napi_valuetype type = napi_undefined;
  if (call.failed()) return nullptr;
  if (napi_typeof(env, call.args[1], &type) != napi_ok || type != napi_function) return call.typeError("Expected a function");
  uv_loop_t* loop = nullptr;
  napi_value name, stop = nullptr;
  auto* watch = new Watch{};
  watch->env = env;
  watch->poll.data = watch;
  const int error = napi_get_uv_event_loop(env, &loop) == napi_ok ? uv_poll_init(loop, &watch->poll, fd) : UV_EINVAL;
  if (error != 0) {
    delete watch;
    return call.systemError("watch descriptor", -error);
  }
  napi_create_reference(env, call.args[1], 1, &watch->callback);
  napi_create_string_utf8(env, "clientvpn.watchReadable", NAPI_AUTO_LENGTH, &name);
  napi_async_init(env, nullptr, name, &watch->context);
  const auto onTeardown = [](napi_async_cleanup_hook_handle, void* data) { static_cast<Watch*>(data)->stop(); };
  napi_add_async_cleanup_hook(env, onTeardown, watch, &watch->hook);
  uv_poll_start(&watch->poll, UV_READABLE, onReadable);
  napi_create_function(env, "stop", NAPI_AUTO_LENGTH, stopWatch, watch, &stop);
  const auto onCollected = [](napi_env, void* data, void*) { static_cast<Watch*>(data)->release(); };
  if (napi_add_finalizer(env, stop, watch, onCollected, nullptr, nullptr) == napi_ok) watch->owners++;
  return stop;
}
