// Opens and seals data packets, a batch at a time.
//
//   V1        [opcode|key id 1][packet id 4][tag 16][ciphertext]                     AAD: packet id
//   V2        [opcode|key id 1][peer id 3][packet id 4][tag 16][ciphertext]          AAD: the first 8 bytes
//   V2 epoch  [opcode|key id 1][peer id 3][epoch 2][counter 6][ciphertext][tag 16]   AAD: the first 12 bytes
#include <atomic>
#include <mutex>

#include "key.h"
#include "packet.h"

namespace {

constexpr uint32_t kIndexBits = 17, kCapacity = 1u << kIndexBits, kGenerations = 1u << (31 - kIndexBits);

// The only state that threads share. Installing and freeing take the lock; one thread uses a key, without any.
struct Table {
  std::mutex lock;
  std::atomic<Key*> keys[kCapacity];
  uint16_t generations[kCapacity];
  uint32_t next;
} table;

std::atomic<Key*>& entryOf(int32_t handle) { return table.keys[static_cast<uint32_t>(handle) % kCapacity]; }

// @returns the key, null for a handle that is not, or no longer, one.
Key* findKey(int32_t handle) {
  Key* key = handle < 0 ? nullptr : entryOf(handle).load(std::memory_order_acquire);
  return key != nullptr && key->handle == handle ? key : nullptr;
}

constexpr uint32_t kTagBytes = 16;
constexpr uint8_t kDataV1 = 6, kDataV2 = 9, kFramingNone = 0xfa;
constexpr uint64_t kFailedTagsMax = 1ull << 36;

uint64_t blocksOf(uint64_t bytes) { return (bytes + 15) / 16; }

struct Layout {
  uint32_t aadOffset, headBytes;  // the AAD ends with the head; the packet id, or counter, too
  bool epochs;                    // and the tag last

  int aadBytes() const { return static_cast<int>(headBytes - aadOffset); }
  uint8_t* text(uint8_t* packet) const { return packet + headBytes + (epochs ? 0 : kTagBytes); }
  uint8_t* tag(uint8_t* packet, uint32_t textBytes) const { return packet + headBytes + (epochs ? textBytes : 0); }
  // Classic: packet id ‖ implicit IV. Epoch: (epoch ‖ counter ‖ 0) XOR IV.
  void nonce(const uint8_t* packet, const uint8_t* iv, uint8_t* out) const {
    memcpy(out, iv, 12);
    if (!epochs) memcpy(out, packet + headBytes - 4, 4);
    for (int i = 0; epochs && i < 8; i++) out[i] ^= packet[4 + i];
  }
};
constexpr Layout kLayoutV1{1, 5, false}, kLayoutV2{0, 8, false}, kLayoutEpoch{0, 12, true};

// @returns null for an opcode that carries no data, or for V1 under an epoch key.
const Layout* layoutOf(uint8_t opcode, bool epochFormat) {
  if (opcode == kDataV2) return epochFormat ? &kLayoutEpoch : &kLayoutV2;
  return opcode == kDataV1 && !epochFormat ? &kLayoutV1 : nullptr;
}

// Opens the text of `packet` in place, or seals `from`, behind a framing byte or not, into it; the context knows which.
bool crypt(const DirectionKey& key, const Layout& layout, uint8_t* packet, const uint8_t* from, uint32_t size, bool framed) {
  const bool sealing = EVP_CIPHER_CTX_is_encrypting(key.context) == 1;
  uint8_t nonce[12], *text = layout.text(packet), *tag = layout.tag(packet, size + framed);
  OSSL_PARAM tags[] = {OSSL_PARAM_construct_octet_string(OSSL_CIPHER_PARAM_AEAD_TAG, tag, kTagBytes), OSSL_PARAM_END};
  int written = 0;
  layout.nonce(packet, key.iv, nonce);
  return EVP_CipherInit_ex2(key.context, nullptr, nullptr, nonce, -1, sealing ? nullptr : tags) == 1 &&
         EVP_CipherUpdate(key.context, nullptr, &written, packet + layout.aadOffset, layout.aadBytes()) == 1 &&
         (!framed || EVP_CipherUpdate(key.context, text, &written, &kFramingNone, 1) == 1) &&
         EVP_CipherUpdate(key.context, text + framed, &written, from, static_cast<int>(size)) == 1 &&
         EVP_CipherFinal_ex(key.context, text + framed + written, &written) == 1 &&
         (!sealing || EVP_CIPHER_CTX_get_params(key.context, tags) == 1);
}

// Opens the packet in place and points the slot at its plaintext. @returns the verdict.
uint8_t openSlot(Batch* batch, uint32_t slot, Key* key, uint8_t* packet, uint32_t length) {
  const Layout* layout = layoutOf(length == 0 ? kDataV2 : packet[0] >> 3, key->epochFormat);
  if (layout == nullptr) return kBadTag;
  if (length < layout->headBytes + kTagBytes + 1) return kTooShort;
  const uint32_t epoch = layout->epochs ? get16(packet + 4) : 0, size = length - layout->headBytes - kTagBytes;
  const uint64_t high = layout->epochs ? get16(packet + 6) : 0, id = high << 32 | get32(packet + layout->headBytes - 4);
  if (layout->epochs && epoch == 0) return kBadEpoch;
  if (id == 0) return kBadPacketId;
  DirectionKey* from = key->receiveKey(epoch);
  if (from == nullptr) return kBadEpoch;
  if (key->failedTags > kFailedTagsMax || !crypt(*from, *layout, packet, layout->text(packet), size, false)) {
    key->failedTags++;
    return kBadTag;
  }
  if (!key->authenticated(from)) return kBadEpoch;
  key->openedPackets++;
  key->openedBlocks += blocksOf(size);
  batch->offset[slot] = static_cast<uint32_t>(layout->text(packet) - batch->bytes);
  batch->length[slot] = size;
  batch->packetId[slot] = static_cast<double>(id);
  batch->epoch[slot] = static_cast<uint16_t>(epoch);
  return kOpened;
}

// One input of seal: its key, its layout, and how it becomes packets. What it holds is used up.
struct Job {
  Key* key;
  uint8_t* data;
  uint32_t length;
  const Layout* layout = nullptr;
  uint32_t header = 0, checksumStart = 0, checksumOffset = 0;
  uint8_t flags = 0, offload = 0;
  SegmentPlan plan{};
  uint8_t headers[120]{};  // the longest of IPv4 and TCP

  bool prepare(const Batch& input, uint32_t slot) {
    header = input.header[slot];
    flags = input.flags[slot];
    offload = input.offload[slot];
    layout = layoutOf(static_cast<uint8_t>(header >> 27), key->epochFormat);
    plan = {0, 0, length, length, 1, false};
    if (layout == nullptr || length == 0) return false;
    if (segmented()) {
      if (!planSegments(data, length, offload & kGsoMask, input.segmentBytes[slot], &plan)) return false;
      memcpy(headers, data, plan.headerBytes);
    } else if (offload & kNeedsChecksum) {
      checksumStart = input.checksumStart[slot];
      checksumOffset = input.checksumOffset[slot];
      if (checksumStart + checksumOffset + 2 > length) return false;
    }
    return innerBytes(0) + overhead() <= 65535;
  }

  bool segmented() const { return (offload & kGsoMask) != 0; }
  uint32_t overhead() const {
    return layout->headBytes + kTagBytes + (flags & kTcpPrefix ? 2 : 0) + (flags & kFramingByte ? 1 : 0);
  }
  uint32_t innerBytes(uint32_t index) const { return plan.headerBytes + plan.payloadOf(index); }
  uint64_t totalBytes() const { return static_cast<uint64_t>(plan.count) * plan.headerBytes + plan.payloadBytes; }

  // Seals packet `index` into `out`; 0 comes first. @returns its size on the wire, 0 if the cipher failed.
  uint32_t write(uint32_t index, uint64_t id, uint8_t* out) const {
    const uint32_t inner = innerBytes(index), wire = inner + overhead();
    uint8_t* head = out + (flags & kTcpPrefix ? 2 : 0);
    if (flags & kTcpPrefix) put16(out, wire - 2);
    put32(head, header);  // V1: all but its first byte is written over
    if (layout->epochs) put32(head + 4, key->sending.epoch << 16 | static_cast<uint32_t>(id >> 32));
    put32(head + layout->headBytes - 4, static_cast<uint32_t>(id));
    const uint8_t* packet = segmented() ? cutSegment(plan, headers, data, index) : data;
    if (!segmented() && (offload & kNeedsChecksum) != 0) finishChecksum(data, inner, checksumStart, checksumOffset);
    return crypt(key->sending, *layout, head, packet, inner, (flags & kFramingByte) != 0) ? wire : 0;
  }
};

}  // namespace

// (index of the cipher, epoch format, encrypt key, encrypt IV, decrypt key, decrypt IV)
int64_t exported::keyInstall(Call& call) {
  const EVP_CIPHER* const ciphers[] = {EVP_aes_128_gcm(), EVP_aes_192_gcm(), EVP_aes_256_gcm(), EVP_chacha20_poly1305()};
  const int32_t cipher = call.integer(0), epochFormat = call.integer(1);
  const Bytes encryptKey = call.bytes(2), encryptIv = call.bytes(3), decryptKey = call.bytes(4), decryptIv = call.bytes(5);
  if (call.failed()) return 0;
  if (cipher < 0 || cipher > 3) return call.rangeError("Not a cipher of the data channel");
  auto key = std::make_unique<Key>();
  key->cipher = ciphers[cipher];
  key->limited = cipher != 3;
  key->epochFormat = epochFormat != 0;
  const size_t keyBytes = key->epochFormat ? kSecretBytes : keyBytesOf(key->cipher);
  const bool ivs = key->epochFormat || (encryptIv.size == 8 && decryptIv.size == 8);
  if (encryptKey.size != keyBytes || decryptKey.size != keyBytes || !ivs)
    return call.rangeError("Expected keys of " + std::to_string(keyBytes) + " bytes and implicit IVs of 8");
  constexpr uint8_t kZero[kSecretBytes]{};
  if (memcmp(encryptKey.data, kZero, keyBytes) == 0 || memcmp(decryptKey.data, kZero, keyBytes) == 0)
    return call.rangeError("A key is all zero");
  if (!key->setUp(encryptKey.data, encryptIv.data, decryptKey.data, decryptIv.data)) return call.systemError("cipher", EIO);
  const std::lock_guard<std::mutex> guard(table.lock);
  for (uint32_t tried = 0; tried < kCapacity; tried++) {
    const uint32_t index = table.next++ % kCapacity;
    if (table.keys[index].load(std::memory_order_relaxed) != nullptr) continue;
    table.generations[index] = static_cast<uint16_t>((table.generations[index] + 1) % kGenerations);
    const auto handle = static_cast<int32_t>(table.generations[index] << kIndexBits | index);
    key->handle = handle;
    table.keys[index].store(key.release(), std::memory_order_release);
    return handle;
  }
  return -1;
}

int64_t exported::keyFree(Call& call) {
  const int32_t handle = call.integer(0);
  const std::lock_guard<std::mutex> guard(table.lock);
  const std::unique_ptr<Key> key(call.failed() ? nullptr : findKey(handle));
  if (key == nullptr) return call.rangeError("No such key");
  entryOf(handle).store(nullptr, std::memory_order_release);
  return 0;
}

int64_t exported::keyUsage(Call& call) {
  const Key* key = findKey(call.integer(0));
  const Bytes out = call.array(1, napi_float64_array, 8);
  if (call.failed() || key == nullptr) return call.rangeError("No such key");
  const uint64_t values[] = {key->sealedPackets, key->sealedBlocks, key->openedPackets, key->openedBlocks,
                             key->failedTags, key->sending.epoch, key->current.epoch, key->lastId};
  for (size_t i = 0; i < 8; i++) reinterpret_cast<double*>(out.data)[i] = static_cast<double>(values[i]);
  return 0;
}

int64_t exported::keyForwardForTest(Call& call) {
  Key* key = findKey(call.integer(0));
  const Bytes value = call.array(1, napi_float64_array, 1);
  const int32_t epoch = call.integer(2);
  const double packetId = call.failed() ? 0 : *reinterpret_cast<const double*>(value.data);
  const bool sane = !call.failed() && key != nullptr && packetId >= 0 && packetId < 0x1p48 && epoch >= 0;
  const bool moved = sane && key->forward(static_cast<uint64_t>(packetId), static_cast<uint32_t>(epoch));
  return moved ? 0 : call.rangeError("The key cannot go there");
}

int64_t exported::open(Call& call) {
  Batch* batch = call.batch(0);
  const uint32_t count = call.count(1, batch);
  if (call.failed()) return 0;
  Counters& counters = call.instance->counters;
  counters.openCalls++;
  uint32_t opened = 0, length = 0;
  for (uint32_t i = 0; i < count; i++) {
    const int32_t handle = batch->key[i];
    if (handle < 0) continue;
    Key* key = findKey(handle);
    uint8_t* packet = batch->slot(i, &length);
    if (key == nullptr || packet == nullptr) return call.slotError(i);
    const uint8_t verdict = batch->verdict[i] = openSlot(batch, i, key, packet, length);
    opened += verdict == kOpened ? 1 : 0;
    (verdict == kOpened ? counters.opened : counters.openFailed)++;
  }
  return opened;
}

int64_t exported::seal(Call& call) {
  const Batch* input = call.batch(0);
  const uint32_t count = call.count(2, input), from = call.count(1, input);
  const Batch* output = call.batch(3);
  if (call.failed()) return 0;
  const bool apart = input->bytes + input->bytesSize <= output->bytes || output->bytes + output->bytesSize <= input->bytes;
  if (from > count || !apart) return call.rangeError("Sealing needs slots in order and an output of its own");
  Counters& counters = call.instance->counters;
  counters.sealCalls++;
  uint32_t produced = 0, slot = from, length = 0;
  size_t at = 0;
  output->count[0] = 0;
  for (; slot < count; slot++) {
    const int32_t handle = input->key[slot];
    if (input->verdict[slot] != kSend || handle < 0) continue;
    uint8_t* data = input->slot(slot, &length);
    Job job{findKey(handle), data, length};
    if (job.key == nullptr || data == nullptr) return call.slotError(slot);
    bool possible = job.prepare(*input, slot);
    const uint64_t packets = job.plan.count, total = job.totalBytes();
    const uint64_t wire = possible ? total + packets * job.overhead() : 0;
    const bool fits = packets <= output->capacity - produced && wire <= output->bytesSize - at;
    if (possible && !fits && produced > 0) break;
    possible = possible && fits;  // what does not fit an empty output never will
    uint64_t id = possible ? job.key->reserve(job.plan.count, blocksOf(total) + packets) : 0;
    if (id == 0) input->verdict[slot] = possible ? kKeyExhausted : kUnsealable;
    if (id == 0) counters.sealFailed++;
    for (uint32_t i = 0; id != 0 && i < packets; i++) {
      const uint32_t size = job.write(i, id++, output->bytes + at);
      if (size == 0) return call.systemError("cipher", EIO);
      output->offset[produced] = static_cast<uint32_t>(at);
      output->length[produced] = size;
      output->verdict[produced] = kSend;
      output->peer[produced] = input->peer[slot];
      output->key[produced] = handle;
      output->flags[produced] = job.flags;
      output->source[produced] = static_cast<int32_t>(slot);
      produced++;
      at += size;
    }
    output->count[0] = produced;
  }
  counters.sealed += produced;
  return slot;
}
