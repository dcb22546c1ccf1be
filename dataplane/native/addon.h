// What every part of the addon shares: the state of one environment (main thread or worker) and the reading of arguments.
#pragma once

#include <node_api.h>
#include <openssl/types.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

// name, C type, Node-API type: first the arrays with one element for each slot, then the others
#define SLOT_ARRAYS(X)                                                                                                \
  X(offset, uint32_t, napi_uint32_array) X(length, uint32_t, napi_uint32_array) X(verdict, uint8_t, napi_uint8_array) \
  X(key, int32_t, napi_int32_array) X(peer, int32_t, napi_int32_array) X(source, int32_t, napi_int32_array)           \
  X(packetId, double, napi_float64_array) X(epoch, uint16_t, napi_uint16_array) X(flags, uint8_t, napi_uint8_array)   \
  X(header, uint32_t, napi_uint32_array) X(segmentBytes, uint16_t, napi_uint16_array)                                 \
  X(headerBytes, uint16_t, napi_uint16_array) X(offload, uint8_t, napi_uint8_array)                                   \
  X(checksumStart, uint16_t, napi_uint16_array) X(checksumOffset, uint16_t, napi_uint16_array)
#define OTHER_ARRAYS(X) \
  X(bytes, uint8_t, napi_uint8_array) X(remotes, uint8_t, napi_uint8_array) X(count, uint32_t, napi_uint32_array)

// SlotVerdict of dataplane/io/native-addon.ts
enum Verdict : uint8_t { kPending, kOpened, kSend, kBadTag, kTooShort, kBadPacketId, kBadEpoch, kKeyExhausted, kUnsealable };
enum SlotFlags : uint8_t { kTcpPrefix = 1, kFramingByte = 2 };
enum Offload : uint8_t { kGsoTcp4 = 1, kGsoUdp = 5, kGsoMask = 0x7f, kNeedsChecksum = 0x80 };

// Datagrams of `bytes` or more to a row leave without GSO until `until`: they were larger than the path MTU.
struct GsoLimit {
  uint32_t bytes = UINT32_MAX, until = 0;
};

// A batch: typed arrays of JavaScript, looked up once. Memory is JavaScript's; offsets and lengths in it are
// whatever JavaScript wrote last, so every use copies them and checks the copy.
struct Batch {
#define X(name, type, kind) type* name = nullptr;
  SLOT_ARRAYS(X) OTHER_ARRAYS(X)
#undef X
  size_t bytesSize = 0;
  uint32_t capacity = 0, rows = 0, regionBytes = 0;
  std::vector<napi_ref> buffers;  // kept alive, and looked at for having been transferred away
  std::unique_ptr<GsoLimit[]> gsoLimits;

  // @returns the slot's bytes, null if they lie outside `bytes`.
  uint8_t* slot(uint32_t index, uint32_t* size) const {
    const uint64_t start = offset[index];
    *size = length[index];
    return start + *size <= bytesSize ? bytes + start : nullptr;
  }
};

// In the order of COUNTER_NAMES in dataplane/io/load-addon.ts.
struct Counters {
  uint64_t receiveCalls, receivedDatagrams, receiveTruncated, sendCalls, sentDatagrams, sendErrors, gsoRuns, gsoRefused;
  uint64_t tunReads, tunReadPackets, tunWrites, tunWrittenPackets, tunWriteErrors, coalescedRuns;
  uint64_t openCalls, opened, openFailed, sealCalls, sealed, sealFailed;
};

constexpr unsigned kMessages = 64;     // datagrams or GSO runs for each system call
constexpr unsigned kGsoSegments = 64;  // what every kernel with UDP_SEGMENT takes
constexpr unsigned kSendIovecs = kMessages * 8;
constexpr size_t kControlBytes = 128;  // packet info and segment size

struct UdpScratch {
  mmsghdr messages[kMessages];
  iovec iovecs[kSendIovecs];
  sockaddr_storage names[kMessages];
  alignas(cmsghdr) uint8_t control[kMessages][kControlBytes];
  struct Run {
    uint32_t firstSlot, datagrams, segmentBytes, totalBytes;
    int32_t row;
  } runs[kMessages];
};

struct Tls {
  ~Tls();
  SSL* ssl = nullptr;
  bool ready = false;  // the handshake is done
  std::string reason;  // for which it failed
};

struct FreeTlsContext {
  void operator()(SSL_CTX* context) const;
};

// One for each environment; nothing else is mutable but the process-wide key table.
struct Instance {
  std::vector<std::unique_ptr<Batch>> batches;  // the index is the handle; never reused
  std::vector<std::shared_ptr<void>> watches;   // of watchReadable
  struct {
    std::vector<std::unique_ptr<Tls>> connections;  // the index is the handle
    std::vector<int32_t> unused;                    // handles
  } tls;
  std::vector<std::unique_ptr<SSL_CTX, FreeTlsContext>> tlsContexts;  // the index is the handle
  Counters counters{};
  UdpScratch udp{};
};

struct Bytes {
  uint8_t* data;
  size_t size;
};

// One call from JavaScript. The first argument that does not fit throws a TypeError or RangeError and sets failed().
class Call {
 public:
  Call(napi_env env, napi_callback_info info);
  int32_t integer(size_t index);
  int32_t descriptor(size_t index);
  Bytes array(size_t index, napi_typedarray_type type, size_t atLeast);
  Bytes bytes(size_t index, size_t atLeast = 0) { return array(index, napi_uint8_array, atLeast); }
  Bytes facts(size_t index, size_t count) { return array(index, napi_int32_array, count); }
  // The batch if the handle is one and its memory is still there.
  Batch* batch(size_t index);
  // A number of slots of `batch`.
  uint32_t count(size_t index, const Batch* batch);

  bool failed() const { return failed_; }
  // These throw and return 0.
  int64_t typeError(const std::string& message) { return fail(napi_throw_type_error, nullptr, message); }
  int64_t rangeError(const std::string& message) { return fail(napi_throw_range_error, nullptr, message); }
  int64_t slotError(uint32_t slot) {
    return rangeError("Slot " + std::to_string(slot) + " lies outside bytes, or names no row or no key");
  }
  int64_t systemError(const std::string& what, int error) {
    return fail(napi_throw_error, strerrorname_np(error), what + ": " + strerror(error));
  }
  int64_t error(const std::string& message) { return fail(napi_throw_error, nullptr, message); }
  // What a system call returned, unless it failed.
  int64_t checked(const char* what, int result) { return result >= 0 || failed_ ? result : systemError(what, errno); }

  napi_env env;
  napi_value args[6] = {};
  napi_value object = nullptr;  // returned instead of a number
  Instance* instance = nullptr;
  int64_t (*function)(Call&);

 private:
  int64_t fail(decltype(napi_throw_error) raise, const char* code, const std::string& message) {
    if (!failed_) raise(env, code, message.c_str());
    failed_ = true;
    return 0;
  }
  bool failed_ = false;
};

// Answers a cold call with several numbers.
inline int64_t writeFacts(const Bytes& out, std::initializer_list<int32_t> facts) {
  memcpy(out.data, facts.begin(), facts.size() * sizeof(int32_t));
  return 0;
}

#define EXPORTS(X)                                                                                              \
  X(registerBatch) X(releaseBatch) X(countersInto) X(monotonicNs) X(close) X(pidNamespace) X(hideMemory)        \
  X(udpOpen) X(udpSteer) X(udpReceive) X(udpSend) X(tunOpen) X(tunOffload) X(tunRead) X(tunWrite)               \
  X(keyInstall) X(keyFree) X(keyUsage) X(keyForwardForTest) X(open) X(seal)                                     \
  X(tcpListen) X(tcpAccept) X(tcpReceive) X(tcpSend) X(netlinkOpen) X(eventCreate) X(eventSignal) X(eventClear) \
  X(pollCreate) X(pollAdd) X(pollModify) X(pollRemove) X(pollWait) X(pause) X(watchReadable)                             \
  X(tlsContext) X(tlsContextFree) X(tlsOpen) X(tlsClose) X(tlsReceive) X(tlsRead) X(tlsWrite) X(tlsTake)        \
  X(tlsPeer) X(tlsExport) X(tlsReason)

namespace exported {
#define X(name) int64_t name(Call& call);
EXPORTS(X)
#undef X
}  // namespace exported
