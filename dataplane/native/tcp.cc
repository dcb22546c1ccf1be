#include <netinet/tcp.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "addon.h"
#include "socket_address.h"

namespace {

constexpr int kBacklog = 1024;

// Arguments of tcpReceive and tcpSend: (descriptor, Uint8Array, offset, length). @returns null after throwing.
uint8_t* region(Call& call, size_t* size) {
  const Bytes bytes = call.bytes(1);
  const int32_t offset = call.integer(2), length = call.integer(3);
  if (call.failed()) return nullptr;
  if (offset < 0 || length < 0 || static_cast<size_t>(offset) + static_cast<size_t>(length) > bytes.size) {
    call.rangeError("Offset and length lie outside the array");
    return nullptr;
  }
  *size = static_cast<size_t>(length);
  return bytes.data + offset;
}

}  // namespace

napi_value tcpListen(napi_env env, napi_callback_info info) {
  Call call(env, info);
  const std::string address = call.text(0, "address");
  const int32_t port = call.integerField(0, "port", 0);
  if (call.failed()) return nullptr;
  if (port > 65535) return call.rangeError("Expected a port from 0 to 65535");
  const int fd = bindSocket(SOCK_STREAM, address, port);
  if (fd < 0) return call.systemError("bind TCP socket", -fd);
  if (listen(fd, kBacklog) != 0) {
    const int error = errno;
    close(fd);
    return call.systemError("listen", error);
  }
  napi_value object;
  if (napi_create_object(env, &object) != napi_ok) return nullptr;
  setField(env, object, "fd", fd);
  setField(env, object, "port", boundPort(fd));
  return object;
}

napi_value tcpAccept(napi_env env, napi_callback_info info) {
  Call call(env, info);
  const int32_t listener = call.descriptor(0);
  const Bytes remote = call.bytes(1, sizeof(SocketAddress));
  if (call.failed()) return nullptr;
  sockaddr_storage from{}, local{};
  socklen_t length = sizeof from, localLength = sizeof local;
  int fd;
  do fd = accept4(listener, reinterpret_cast<sockaddr*>(&from), &length, SOCK_NONBLOCK | SOCK_CLOEXEC);
  while (fd < 0 && errno == EINTR);
  if (fd < 0) return call.result(-errno);
  const int on = 1;
  (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  SocketAddress row;
  setRemote(&row, from);
  if (getsockname(fd, reinterpret_cast<sockaddr*>(&local), &localLength) == 0) setLocal(&row, local);
  memcpy(remote.data, &row, sizeof row);
  return call.result(fd);
}

napi_value tcpReceive(napi_env env, napi_callback_info info) {
  Call call(env, info);
  const int32_t fd = call.descriptor(0);
  size_t size = 0;
  uint8_t* into = region(call, &size);
  if (call.failed()) return nullptr;
  if (size == 0) return call.rangeError("Reading nothing would look like the end of the stream");
  ssize_t got;
  do got = recv(fd, into, size, MSG_DONTWAIT);
  while (got < 0 && errno == EINTR);
  return call.result(static_cast<int32_t>(got < 0 ? -errno : got));
}

napi_value tcpSend(napi_env env, napi_callback_info info) {
  Call call(env, info);
  const int32_t fd = call.descriptor(0);
  size_t size = 0;
  uint8_t* from = region(call, &size);
  if (call.failed()) return nullptr;
  ssize_t sent;
  do sent = send(fd, from, size, MSG_DONTWAIT | MSG_NOSIGNAL);
  while (sent < 0 && errno == EINTR);
  return call.result(static_cast<int32_t>(sent < 0 ? -errno : sent));
}
