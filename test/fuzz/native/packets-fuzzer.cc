// Coverage-guided fuzzing of the addon's packet code: coalescing for TUN, and segmenting of super-packets. Built and run
// by `make fuzz-native` where clang is installed.
#include <sys/mman.h>

#include "../../../dataplane/native/tun.cc"

namespace {

Counters counters;
int device = ::open("/dev/null", O_WRONLY);

// [length 2][bytes]…: packets of one write, each with a buffer of its own, so that reading beside it is seen.
void coalesce(const uint8_t* data, size_t size) {
  std::vector<std::vector<uint8_t>> packets;
  for (size_t at = 0; at + 2 <= size && packets.size() < 64;) {
    const size_t length = std::min<size_t>(load<uint16_t>(data + at) % 2048, size - at - 2);
    packets.emplace_back(data + at + 2, data + at + 2 + length);
    at += 2 + length;
  }
  // As if their checksums were right, which a fuzzer would not guess.
  for (auto& packet : packets) {
    if (packet.size() < 40 || packet[0] != 0x45 || packet[9] != 6) continue;
    const auto tcpBytes = static_cast<uint32_t>(packet.size()) - 20;
    put16(packet.data() + 2, static_cast<uint32_t>(packet.size()));
    putIpChecksum(packet.data(), 20);
    store16(packet.data() + 36, foldSum(pseudoSum(packet.data(), 6, tcpBytes)));
    finishChecksum(packet.data() + 20, tcpBytes, 0, 16);
  }
  Writer writer{device, true, &counters};
  int32_t expected = 0;
  for (auto& packet : packets)
    if (!packet.empty()) {
      writer.take(packet.data(), static_cast<uint32_t>(packet.size()));
      expected++;
    }
  for (Run& run : writer.runs) writer.flush(&run);
  if (writer.written != expected) __builtin_trap();
}

// [GSO type 1][segment size 2][packet]
void segment(const uint8_t* data, size_t size) {
  if (size < 4) return;
  std::vector<uint8_t> packet(data + 3, data + size);
  const auto length = static_cast<uint32_t>(packet.size());
  if (length >= 4) put16(packet.data() + 2, length);
  SegmentPlan plan;
  if (!planSegments(packet.data(), length, data[0] & 1 ? kGsoTcp4 : kGsoUdp, load<uint16_t>(data + 1), &plan)) return;
  if (plan.headerBytes > 120) __builtin_trap();
  const std::vector<uint8_t> whole = packet, headers(whole.begin(), whole.begin() + plan.headerBytes);
  uint64_t payload = 0;
  for (uint32_t i = 0; i < plan.count; i++) {
    const uint8_t* out = cutSegment(plan, headers.data(), packet.data(), i);
    if (get16(out + 2) != plan.headerBytes + plan.payloadOf(i)) __builtin_trap();
    if (memcmp(out + plan.headerBytes, &whole[plan.headerBytes + payload], plan.payloadOf(i)) != 0) __builtin_trap();
    payload += plan.payloadOf(i);
  }
  if (payload != plan.payloadBytes) __builtin_trap();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  if (data[0] & 1) coalesce(data + 1, size - 1);
  else segment(data + 1, size - 1);
  return 0;
}

// What tun.cc takes from the rest of the addon and from Node; nothing here calls it.
int32_t Call::integer(size_t) { abort(); }
int32_t Call::descriptor(size_t) { abort(); }
Bytes Call::array(size_t, napi_typedarray_type, size_t) { abort(); }
Batch* Call::batch(size_t) { abort(); }
uint32_t Call::count(size_t, const Batch*) { abort(); }
napi_status napi_get_value_string_utf8(napi_env, napi_value, char*, size_t, size_t*) { abort(); }
napi_status napi_throw_error(napi_env, const char*, const char*) { abort(); }
napi_status napi_throw_range_error(napi_env, const char*, const char*) { abort(); }
