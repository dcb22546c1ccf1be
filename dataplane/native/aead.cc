// Opens and seals data packets, a batch at a time (layouts: protocol 6.1).
//
//   V1        [opcode|key id 1][packet id 4][tag 16][ciphertext]                     AAD: packet id
//   V2        [opcode|key id 1][peer id 3][packet id 4][tag 16][ciphertext]          AAD: the first 8 bytes
//   V2 epoch  [opcode|key id 1][peer id 3][epoch 2][counter 6][ciphertext][tag 16]   AAD: the first 12 bytes
#include <cstring>

#include "addon.h"
#include "checksum.h"
#include "key_table.h"
#include "segment.h"

namespace {

constexpr uint32_t kTagBytes = 16;
constexpr uint8_t kDataV1 = 6, kDataV2 = 9, kFramingNone = 0xfa;
constexpr uint64_t kFailedTagsMax = 1ull << 36;

uint64_t blocksOf(uint64_t bytes) { return (bytes + 15) / 16; }

struct Layout {
  uint32_t aadOffset;
  uint32_t aadBytes;
  uint32_t headBytes;  // all before the ciphertext (epoch) or before the tag (V1, V2)
  bool tagLast;
};
constexpr Layout kLayoutV1{1, 4, 5, false}, kLayoutV2{0, 8, 8, false}, kLayoutEpoch{0, 12, 12, true};

// @returns null for an opcode that carries no data, or for V1 under an epoch key.
const Layout* layoutOf(uint8_t opcode, bool epochFormat) {
  if (opcode == kDataV2) return epochFormat ? &kLayoutEpoch : &kLayoutV2;
  return opcode == kDataV1 && !epochFormat ? &kLayoutV1 : nullptr;
}

// Classic: packet id ‖ implicit IV. Epoch: (epoch ‖ counter ‖ 0) XOR IV. The id stands at the end of the head.
void makeNonce(const Layout& layout, const uint8_t* head, const uint8_t* iv, uint8_t* nonce) {
  memcpy(nonce, iv, 12);
  if (!layout.tagLast) return void(memcpy(nonce, head + layout.headBytes - 4, 4));
  for (int i = 0; i < 8; i++) nonce[i] ^= head[4 + i];
}

struct Opened {
  uint32_t offset;
  uint32_t length;
  double packetId;
  uint16_t epoch;
};

uint8_t openPacket(Key* key, uint8_t* packet, uint32_t length, Opened* out) {
  if (length == 0) return kTooShort;
  const Layout* layout = layoutOf(packet[0] >> 3, key->epochFormat);
  if (layout == nullptr) return kBadTag;
  if (length < layout->headBytes + kTagBytes + 1) return kTooShort;
  uint64_t id = get32(packet + layout->headBytes - 4);
  uint32_t epoch = 0;
  if (layout->tagLast) {
    epoch = get16(packet + 4);
    id |= static_cast<uint64_t>(get16(packet + 6)) << 32;
    if (epoch == 0) return kBadEpoch;
  }
  if (id == 0) return kBadPacketId;
  ReceiveKey* from = key->receiveKey(epoch);
  if (from == nullptr) return kBadEpoch;
  const uint32_t size = length - layout->headBytes - kTagBytes;
  uint8_t* text = packet + layout->headBytes + (layout->tagLast ? 0 : kTagBytes);
  uint8_t* tag = layout->tagLast ? text + size : packet + layout->headBytes;
  uint8_t nonce[12];
  makeNonce(*layout, packet, from->iv, nonce);
  int written = 0, last = 0;
  const bool ok = key->failedTags <= kFailedTagsMax && EVP_DecryptInit_ex(from->context, nullptr, nullptr, nullptr, nonce) == 1 &&
                  EVP_DecryptUpdate(from->context, nullptr, &written, packet + layout->aadOffset, static_cast<int>(layout->aadBytes)) == 1 &&
                  EVP_DecryptUpdate(from->context, text, &written, text, static_cast<int>(size)) == 1 &&
                  EVP_CIPHER_CTX_ctrl(from->context, EVP_CTRL_AEAD_SET_TAG, kTagBytes, tag) == 1 &&
                  EVP_DecryptFinal_ex(from->context, text + written, &last) == 1;
  if (!ok) {
    key->failedTags++;
    return kBadTag;
  }
  if (!key->authenticated(from)) return kBadEpoch;
  key->openedPackets++;
  key->openedBlocks += blocksOf(size);
  *out = {static_cast<uint32_t>(text - packet), size, static_cast<double>(id), static_cast<uint16_t>(epoch)};
  return kOpened;
}

// One input of seal: its key, its layout, and how it becomes packets.
struct Job {
  Key* key;
  const Layout* layout;
  const uint8_t* data;
  uint32_t length;
  uint32_t header;
  uint8_t flags;
  uint8_t offload;
  uint32_t checksumStart, checksumOffset;
  SegmentPlan plan;

  uint32_t overhead() const {
    return layout->headBytes + kTagBytes + (flags & kTcpPrefix ? 2 : 0) + (flags & kFramingByte ? 1 : 0);
  }
  bool segmented() const { return (offload & kGsoMask) != 0; }
  uint32_t packetBytes(uint32_t index) const { return segmented() ? plan.headerBytes + plan.payloadOf(index) : length; }
  uint64_t totalBytes() const {
    return segmented() ? static_cast<uint64_t>(plan.count) * plan.headerBytes + plan.payloadBytes : length;
  }
  bool prepare(const Batch& input, uint32_t slot);
  uint32_t write(uint32_t index, uint64_t id, uint8_t* out) const;
};

bool Job::prepare(const Batch& input, uint32_t slot) {
  header = input.header[slot];
  flags = input.flags != nullptr ? input.flags[slot] : 0;
  offload = input.offload != nullptr ? input.offload[slot] : 0;
  layout = layoutOf(static_cast<uint8_t>(header >> 27), key->epochFormat);
  plan = {};
  plan.count = 1;
  checksumStart = checksumOffset = 0;
  if (layout == nullptr || length == 0) return false;
  if (segmented()) {
    if (input.segmentBytes == nullptr || !planSegments(data, length, offload & kGsoMask, input.segmentBytes[slot], &plan)) return false;
  } else if (offload & kNeedsChecksum) {
    if (input.checksumStart == nullptr || input.checksumOffset == nullptr) return false;
    checksumStart = input.checksumStart[slot];
    checksumOffset = input.checksumOffset[slot];
    if (checksumStart + checksumOffset + 2 > length) return false;
  }
  return packetBytes(0) + overhead() <= 65535;
}

// Builds packet `index` where it is encrypted. @returns its size on the wire, 0 if the cipher failed.
uint32_t Job::write(uint32_t index, uint64_t id, uint8_t* out) const {
  const uint32_t inner = packetBytes(index), size = inner + (flags & kFramingByte ? 1 : 0);
  uint8_t* head = out;
  if (flags & kTcpPrefix) {
    put16(head, layout->headBytes + kTagBytes + size);
    head += 2;
  }
  put32(head, header);  // V1: all but its first byte is written over below
  put32(head + layout->headBytes - 4, static_cast<uint32_t>(id));
  if (layout->tagLast) {
    put16(head + 4, key->sendEpoch);
    put16(head + 6, static_cast<uint32_t>(id >> 32));
  }
  uint8_t* text = head + layout->headBytes + (layout->tagLast ? 0 : kTagBytes);
  uint8_t* tag = layout->tagLast ? text + size : head + layout->headBytes;
  uint8_t* packet = text;
  if (flags & kFramingByte) *packet++ = kFramingNone;
  if (segmented()) {
    writeSegment(plan, data, index, packet);
  } else {
    memcpy(packet, data, inner);
    if (offload & kNeedsChecksum) finishChecksum(packet, inner, checksumStart, checksumOffset);
  }
  uint8_t nonce[12];
  makeNonce(*layout, head, key->sendIv, nonce);
  int written = 0, last = 0;
  const bool ok = EVP_EncryptInit_ex(key->sendContext, nullptr, nullptr, nullptr, nonce) == 1 &&
                  EVP_EncryptUpdate(key->sendContext, nullptr, &written, head + layout->aadOffset, static_cast<int>(layout->aadBytes)) == 1 &&
                  EVP_EncryptUpdate(key->sendContext, text, &written, text, static_cast<int>(size)) == 1 &&
                  EVP_EncryptFinal_ex(key->sendContext, text + written, &last) == 1 &&
                  EVP_CIPHER_CTX_ctrl(key->sendContext, EVP_CTRL_AEAD_GET_TAG, kTagBytes, tag) == 1;
  return ok ? static_cast<uint32_t>(head - out) + layout->headBytes + kTagBytes + size : 0;
}

void copySlot(const Batch& input, uint32_t from, Batch* output, uint32_t to) {
  if (output->peer != nullptr) output->peer[to] = input.peer != nullptr ? input.peer[from] : -1;
  if (output->key != nullptr) output->key[to] = input.key[from];
  if (output->flags != nullptr) output->flags[to] = input.flags != nullptr ? input.flags[from] : 0;
  if (output->source != nullptr) output->source[to] = static_cast<int32_t>(from);
}

}  // namespace

napi_value open(napi_env env, napi_callback_info info) {
  Call call(env, info);
  Batch* batch = call.batch(0, kHas_length | kHas_verdict | kHas_key | kHas_packetId | kHas_epoch);
  const int32_t count = call.integer(1);
  if (call.failed()) return nullptr;
  if (count < 0 || static_cast<uint32_t>(count) > batch->capacity) return call.rangeError("More slots than the batch has");
  Counters& counters = call.instance->counters;
  counters.openCalls++;
  int32_t opened = 0;
  for (uint32_t i = 0; i < static_cast<uint32_t>(count); i++) {
    const int32_t handle = batch->key[i];
    if (handle < 0) continue;
    Key* key = findKey(handle);
    uint32_t length = 0;
    uint8_t* packet = batch->slot(i, &length);
    if (key == nullptr || packet == nullptr)
      return call.rangeError("Slot " + std::to_string(i) + " lies outside bytes or names no key");
    Opened result;
    const uint8_t verdict = openPacket(key, packet, length, &result);
    batch->verdict[i] = verdict;
    if (verdict != kOpened) {
      counters.openFailed++;
      continue;
    }
    batch->offset[i] = static_cast<uint32_t>(packet - batch->bytes) + result.offset;
    batch->length[i] = result.length;
    batch->packetId[i] = result.packetId;
    batch->epoch[i] = result.epoch;
    counters.opened++;
    opened++;
  }
  return call.result(opened);
}

napi_value seal(napi_env env, napi_callback_info info) {
  Call call(env, info);
  Batch* input = call.batch(0, kHas_length | kHas_verdict | kHas_key | kHas_header);
  const int32_t from = call.integer(1), count = call.integer(2);
  Batch* output = call.batch(3, kHas_length | kHas_verdict | kHasCount);
  if (call.failed()) return nullptr;
  if (from < 0 || count < from || static_cast<uint32_t>(count) > input->capacity) return call.rangeError("More slots than the batch has");
  if (input == output) return call.rangeError("Sealing needs two batches");
  Counters& counters = call.instance->counters;
  counters.sealCalls++;
  uint32_t produced = 0, slot = static_cast<uint32_t>(from);
  size_t at = 0;
  output->count[0] = 0;
  for (; slot < static_cast<uint32_t>(count); slot++) {
    if (input->verdict[slot] != kSend || input->key[slot] < 0) continue;
    Job job;
    job.key = findKey(input->key[slot]);
    job.data = input->slot(slot, &job.length);
    if (job.key == nullptr || job.data == nullptr)
      return call.rangeError("Slot " + std::to_string(slot) + " lies outside bytes or names no key");
    bool possible = job.prepare(*input, slot);
    const uint64_t bytes = possible ? job.totalBytes() + static_cast<uint64_t>(job.plan.count) * job.overhead() : 0;
    if (possible && (job.plan.count > output->capacity - produced || bytes > output->bytesSize - at)) {
      if (produced > 0) break;
      possible = false;  // fits no empty output either
    }
    const uint64_t blocks = blocksOf(job.totalBytes()) + job.plan.count;
    const uint64_t first = possible ? job.key->reserve(job.plan.count, blocks) : 0;
    if (first == 0) {
      input->verdict[slot] = possible ? kKeyExhausted : kUnsealable;
      counters.sealFailed++;
      continue;
    }
    for (uint32_t i = 0; i < job.plan.count; i++) {
      const uint32_t size = job.write(i, first + i, output->bytes + at);
      if (size == 0) {
        input->verdict[slot] = kUnsealable;
        counters.sealFailed++;
        break;
      }
      output->offset[produced] = static_cast<uint32_t>(at);
      output->length[produced] = size;
      output->verdict[produced] = kSend;
      copySlot(*input, slot, output, produced);
      produced++;
      at += size;
      counters.sealed++;
    }
    output->count[0] = produced;
  }
  return call.result(static_cast<int32_t>(slot));
}
