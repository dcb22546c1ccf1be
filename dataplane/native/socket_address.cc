#include "socket_address.h"

#include <arpa/inet.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "addon.h"

namespace {

constexpr uint8_t kNone[16] = {};

void putAddress(uint8_t* to, uint8_t* family, const in6_addr& from) {
  memset(to, 0, 16);
  const bool mapped = IN6_IS_ADDR_V4MAPPED(&from);
  *family = mapped ? 4 : 6;
  memcpy(to, from.s6_addr + (mapped ? 12 : 0), mapped ? 4 : 16);
}

void* startMessage(cmsghdr* message, int level, int type, size_t size) {
  memset(message, 0, CMSG_SPACE(size));
  message->cmsg_level = level;
  message->cmsg_type = type;
  message->cmsg_len = CMSG_LEN(size);
  return CMSG_DATA(message);
}

}  // namespace

bool SocketAddress::hasLocal() const { return memcmp(local, kNone, sizeof local) != 0; }

void setRemote(SocketAddress* row, const sockaddr_storage& from) {
  memset(row, 0, sizeof *row);
  if (from.ss_family == AF_INET) {
    const auto& in = reinterpret_cast<const sockaddr_in&>(from);
    row->family = 4;
    row->portNetworkOrder = in.sin_port;
    memcpy(row->address, &in.sin_addr, 4);
  } else if (from.ss_family == AF_INET6) {
    const auto& in = reinterpret_cast<const sockaddr_in6&>(from);
    putAddress(row->address, &row->family, in.sin6_addr);
    row->portNetworkOrder = in.sin6_port;
    row->scope = row->family == 6 ? in.sin6_scope_id : 0;
  }
}

void setLocal(SocketAddress* row, const sockaddr_storage& local) {
  SocketAddress ours;
  setRemote(&ours, local);
  memcpy(row->local, ours.address, sizeof row->local);
}

bool setLocal(SocketAddress* row, cmsghdr* message) {
  uint8_t family;
  if (message->cmsg_level == IPPROTO_IP && message->cmsg_type == IP_PKTINFO) {
    in_pktinfo info;
    memcpy(&info, CMSG_DATA(message), sizeof info);
    memset(row->local, 0, sizeof row->local);
    memcpy(row->local, &info.ipi_spec_dst, 4);
    row->interface = static_cast<uint32_t>(info.ipi_ifindex);
    return true;
  }
  if (message->cmsg_level == IPPROTO_IPV6 && message->cmsg_type == IPV6_PKTINFO) {
    in6_pktinfo info;
    memcpy(&info, CMSG_DATA(message), sizeof info);
    putAddress(row->local, &family, info.ipi6_addr);
    row->interface = info.ipi6_ifindex;
    return true;
  }
  return false;
}

socklen_t toSockaddr(const SocketAddress& row, sockaddr_storage* out) {
  if (row.family == 4) {
    auto* in = reinterpret_cast<sockaddr_in*>(out);
    memset(in, 0, sizeof *in);
    in->sin_family = AF_INET;
    in->sin_port = row.portNetworkOrder;
    memcpy(&in->sin_addr, row.address, 4);
    return sizeof *in;
  }
  if (row.family != 6) return 0;
  auto* in = reinterpret_cast<sockaddr_in6*>(out);
  memset(in, 0, sizeof *in);
  in->sin6_family = AF_INET6;
  in->sin6_port = row.portNetworkOrder;
  memcpy(&in->sin6_addr, row.address, 16);
  in->sin6_scope_id = row.scope;
  return sizeof *in;
}

size_t putPacketInfo(const SocketAddress& row, cmsghdr* message) {
  if (!row.hasLocal()) return 0;
  if (row.family == 4) {
    // Without the interface: the answer takes the route of the day, from the address the client knows.
    auto* info = static_cast<in_pktinfo*>(startMessage(message, IPPROTO_IP, IP_PKTINFO, sizeof(in_pktinfo)));
    memcpy(&info->ipi_spec_dst, row.local, 4);
    return CMSG_SPACE(sizeof *info);
  }
  auto* info = static_cast<in6_pktinfo*>(startMessage(message, IPPROTO_IPV6, IPV6_PKTINFO, sizeof(in6_pktinfo)));
  memcpy(&info->ipi6_addr, row.local, 16);
  if (IN6_IS_ADDR_LINKLOCAL(&info->ipi6_addr)) info->ipi6_ifindex = row.interface;
  return CMSG_SPACE(sizeof *info);
}

bool parseSockaddr(const std::string& text, uint16_t port, sockaddr_storage* out, socklen_t* length) {
  memset(out, 0, sizeof *out);
  auto* in = reinterpret_cast<sockaddr_in*>(out);
  auto* in6 = reinterpret_cast<sockaddr_in6*>(out);
  if (inet_pton(AF_INET, text.c_str(), &in->sin_addr) == 1) {
    in->sin_family = AF_INET;
    in->sin_port = htons(port);
    *length = sizeof *in;
  } else if (inet_pton(AF_INET6, text.c_str(), &in6->sin6_addr) == 1) {
    in6->sin6_family = AF_INET6;
    in6->sin6_port = htons(port);
    *length = sizeof *in6;
  } else {
    return false;
  }
  return true;
}

int bindSocket(int type, const std::string& address, int port) {
  sockaddr_storage local;
  socklen_t length;
  if (!parseSockaddr(address, static_cast<uint16_t>(port), &local, &length)) return -EINVAL;
  const int fd = socket(local.ss_family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return -errno;
  const int on = 1, off = 0;
  bool ok = setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on) == 0;
  if (type == SOCK_STREAM) ok = ok && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0;
  if (local.ss_family == AF_INET6) ok = ok && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off) == 0;
  ok = ok && bind(fd, reinterpret_cast<sockaddr*>(&local), length) == 0;
  if (ok) return fd;
  const int error = errno;
  close(fd);
  return -error;
}

int boundPort(int fd) {
  sockaddr_storage local{};
  socklen_t length = sizeof local;
  if (getsockname(fd, reinterpret_cast<sockaddr*>(&local), &length) != 0) return 0;
  SocketAddress row;
  setRemote(&row, local);
  return ntohs(row.portNetworkOrder);
}

napi_value formatAddress(napi_env env, napi_callback_info info) {
  Call call(env, info);
  const Bytes bytes = call.bytes(0, sizeof(SocketAddress));
  napi_value object = nullptr;
  if (call.failed() || napi_create_object(env, &object) != napi_ok) return nullptr;
  SocketAddress row;
  memcpy(&row, bytes.data, sizeof row);
  char text[INET6_ADDRSTRLEN] = "";
  if (row.family == 4 || row.family == 6)
    inet_ntop(row.family == 4 ? AF_INET : AF_INET6, row.address, text, sizeof text);
  setField(env, object, "family", static_cast<int32_t>(text[0] == 0 ? 0 : row.family));
  setField(env, object, "address", std::string(text));
  setField(env, object, "port", static_cast<int32_t>(ntohs(row.portNetworkOrder)));
  return object;
}

napi_value parseAddress(napi_env env, napi_callback_info info) {
  Call call(env, info);
  char text[INET6_ADDRSTRLEN + 1] = "";
  size_t size;
  const int32_t port = call.integer(1);
  sockaddr_storage address;
  socklen_t length;
  if (call.failed()) return nullptr;
  if (port < 0 || port > 65535) return call.rangeError("Expected a port from 0 to 65535");
  if (napi_get_value_string_utf8(env, call.args[0], text, sizeof text, &size) != napi_ok ||
      !parseSockaddr(text, static_cast<uint16_t>(port), &address, &length))
    return call.typeError("Expected an IPv4 or IPv6 address");
  napi_value buffer, array = nullptr;
  void* data;
  if (napi_create_arraybuffer(env, sizeof(SocketAddress), &data, &buffer) != napi_ok) return nullptr;
  setRemote(static_cast<SocketAddress*>(data), address);
  napi_create_typedarray(env, napi_uint8_array, sizeof(SocketAddress), buffer, 0, &array);
  return array;
}
