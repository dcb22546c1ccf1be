#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "addon.h"
#include "vnet_header.h"

#ifndef TUN_F_USO4
#define TUN_F_USO4 0x20
#define TUN_F_USO6 0x40
#endif

namespace {

constexpr size_t kReadBytes = 65536;

struct Offloads {
  bool tso;
  bool uso;
  int error;
};

// The kernel takes USO for both families or not at all; without USO, and without any, older ones are tried.
Offloads enableOffloads(int fd) {
  const int headerBytes = sizeof(VnetHeader);
  if (ioctl(fd, TUNSETVNETHDRSZ, &headerBytes) != 0) return {false, false, errno};
  const unsigned long tso = TUN_F_CSUM | TUN_F_TSO4;
  if (ioctl(fd, TUNSETOFFLOAD, tso | TUN_F_USO4 | TUN_F_USO6) == 0) return {true, true, 0};
  if (ioctl(fd, TUNSETOFFLOAD, tso) == 0) return {true, false, 0};
  return {false, false, ioctl(fd, TUNSETOFFLOAD, 0ul) == 0 ? 0 : errno};
}

napi_value offloadResult(napi_env env, int fd, const Offloads& offloads) {
  napi_value object;
  if (napi_create_object(env, &object) != napi_ok) return nullptr;
  setField(env, object, "fd", fd);
  setField(env, object, "tso", offloads.tso);
  setField(env, object, "uso", offloads.uso);
  return object;
}

}  // namespace

napi_value tunOpen(napi_env env, napi_callback_info info) {
  Call call(env, info);
  const std::string name = call.text(0, "name");
  const bool multiQueue = call.booleanField(0, "multiQueue", true);
  const bool persist = call.booleanField(0, "persist", false);
  const int32_t owner = call.integerField(0, "owner", -1);
  if (call.failed()) return nullptr;
  ifreq request{};
  if (name.empty() || name.size() >= sizeof request.ifr_name) return call.rangeError("Expected an interface name of 1 to 15 bytes");
  memcpy(request.ifr_name, name.data(), name.size());
  request.ifr_flags = static_cast<short>(IFF_TUN | IFF_NO_PI | IFF_VNET_HDR | (multiQueue ? IFF_MULTI_QUEUE : 0));
  const int fd = ::open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
  if (fd < 0) return call.systemError("/dev/net/tun", errno);
  Offloads offloads{};
  const char* failed = nullptr;
  if (ioctl(fd, TUNSETIFF, &request) != 0) failed = "TUNSETIFF";
  else if (owner >= 0 && ioctl(fd, TUNSETOWNER, static_cast<unsigned long>(owner)) != 0) failed = "TUNSETOWNER";
  else if (persist && ioctl(fd, TUNSETPERSIST, 1ul) != 0) failed = "TUNSETPERSIST";
  int error = errno;
  if (failed == nullptr) {
    offloads = enableOffloads(fd);
    failed = offloads.error != 0 ? "TUNSETOFFLOAD" : nullptr;
    error = offloads.error;
  }
  if (failed == nullptr) return offloadResult(env, fd, offloads);
  close(fd);
  return call.systemError(failed, error);
}

napi_value tunOffload(napi_env env, napi_callback_info info) {
  Call call(env, info);
  const int32_t fd = call.descriptor(0);
  if (call.failed()) return nullptr;
  const Offloads offloads = enableOffloads(fd);
  return offloads.error != 0 ? call.systemError("TUNSETOFFLOAD", offloads.error) : offloadResult(env, fd, offloads);
}

napi_value tunRead(napi_env env, napi_callback_info info) {
  Call call(env, info);
  const int32_t fd = call.descriptor(0);
  Batch* batch = call.batch(1, kHas_length | kHas_verdict | kHas_segmentBytes | kHas_headerBytes | kHas_offload |
                                   kHas_checksumStart | kHas_checksumOffset);
  if (call.failed()) return nullptr;
  if (batch->bytesSize < kReadBytes) return call.rangeError("tunRead needs 65536 bytes or more");
  Counters* counters = &call.instance->counters;
  uint32_t slot = 0;
  size_t at = 0;
  while (slot < batch->capacity && batch->bytesSize - at >= kReadBytes) {
    VnetHeader header;
    const iovec parts[] = {{&header, sizeof header}, {batch->bytes + at, kReadBytes}};
    const ssize_t size = readv(fd, parts, 2);
    counters->tunReads++;
    if (size < 0) {
      if (errno == EINTR) continue;
      if (slot == 0 && errno != EAGAIN) return call.result(-errno);
      break;
    }
    if (size <= static_cast<ssize_t>(sizeof header)) break;
    const auto length = static_cast<uint32_t>(size) - static_cast<uint32_t>(sizeof header);
    const uint8_t type = header.gsoType & static_cast<uint8_t>(~kVnetEcn);
    batch->offset[slot] = static_cast<uint32_t>(at);
    batch->length[slot] = length;
    batch->verdict[slot] = kPending;
    batch->segmentBytes[slot] = type == 0 ? 0 : header.gsoSize;
    batch->headerBytes[slot] = header.headerBytes;
    batch->offload[slot] = static_cast<uint8_t>(type | (header.flags & kVnetNeedsChecksum ? kNeedsChecksum : 0));
    batch->checksumStart[slot] = header.checksumStart;
    batch->checksumOffset[slot] = header.checksumOffset;
    slot++;
    at += (length + 63u) & ~63u;
    if (at > batch->bytesSize) break;
  }
  counters->tunReadPackets += slot;
  return call.result(static_cast<int32_t>(slot));
}
