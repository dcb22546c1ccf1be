#include "key_table.h"

#include <openssl/crypto.h>
#include <openssl/hmac.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <memory>
#include <mutex>

#include "addon.h"
#include "checksum.h"

namespace {

constexpr uint32_t kIndexBits = 17;
constexpr uint32_t kCapacity = 1u << kIndexBits;
constexpr uint32_t kGenerations = 1u << (31 - kIndexBits);
constexpr uint32_t kEpochMax = 0xffff;
constexpr uint64_t kEpochIdMax = (1ull << 48) - 1;
constexpr size_t kSecretBytes = 32;

struct Table {
  std::mutex lock;
  std::atomic<Key*> keys[kCapacity];
  uint16_t generations[kCapacity];
  uint32_t next;
};
Table table;  // the only state that threads share

// One block of HKDF-Expand-SHA256 with the label of protocol 5.5; `size` ≤ 32.
bool expand(const uint8_t* secret, const char* label, uint8_t* out, size_t size) {
  uint8_t info[32], block[EVP_MAX_MD_SIZE];
  unsigned blockBytes = 0;
  const size_t labelBytes = strlen(label);
  put16(info, static_cast<uint32_t>(size));
  info[2] = static_cast<uint8_t>(5 + labelBytes);
  memcpy(info + 3, "ovpn ", 5);
  memcpy(info + 8, label, labelBytes);
  info[8 + labelBytes] = 0;  // empty context
  info[9 + labelBytes] = 1;  // first block
  const bool ok = HMAC(EVP_sha256(), secret, kSecretBytes, info, 10 + labelBytes, block, &blockBytes) != nullptr;
  if (ok) memcpy(out, block, size);
  OPENSSL_cleanse(block, sizeof block);
  return ok;
}

bool nextSecret(uint8_t* secret) { return expand(secret, "datakey upd", secret, kSecretBytes); }

bool allZero(const uint8_t* data, size_t size) {
  return std::all_of(data, data + size, [](uint8_t byte) { return byte == 0; });
}

}  // namespace

Key::~Key() {
  for (EVP_CIPHER_CTX* context : {sendContext, current.context, previous.context, trial.context})
    EVP_CIPHER_CTX_free(context);
  OPENSSL_cleanse(sendSecret_, sizeof sendSecret_);
  OPENSSL_cleanse(receiveSecret_, sizeof receiveSecret_);
  OPENSSL_cleanse(future_, sizeof future_);
  OPENSSL_cleanse(sendIv, sizeof sendIv);
  for (ReceiveKey* key : {&current, &previous, &trial}) OPENSSL_cleanse(key->iv, sizeof key->iv);
}

bool Key::setUp(const KeySpec& spec) {
  cipher_ = spec.cipher;
  gcm_ = spec.gcm;
  keyBytes_ = static_cast<uint32_t>(EVP_CIPHER_get_key_length(spec.cipher));
  epochFormat = spec.epochFormat;
  if (epochFormat) {
    memcpy(sendSecret_, spec.encryptKey, kSecretBytes);
    memcpy(receiveSecret_, spec.decryptKey, kSecretBytes);
    return raiseSendEpoch(1) && deriveFuture() && load(&current, future_[1 % kFutureEpochs], 1) && deriveFuture();
  }
  memcpy(sendIv + 4, spec.encryptIv, 8);
  sendContext = EVP_CIPHER_CTX_new();
  Material material{};
  memcpy(material.key, spec.decryptKey, keyBytes_);
  memcpy(material.iv + 4, spec.decryptIv, 8);
  const bool ok = sendContext != nullptr && EVP_EncryptInit_ex(sendContext, cipher_, nullptr, spec.encryptKey, nullptr) == 1 &&
                  load(&current, material, 0);
  OPENSSL_cleanse(&material, sizeof material);
  return ok;
}

bool Key::load(ReceiveKey* into, const Material& material, uint32_t epoch) {
  if (into->context == nullptr) into->context = EVP_CIPHER_CTX_new();
  memcpy(into->iv, material.iv, sizeof into->iv);
  into->epoch = epoch;
  return into->context != nullptr && EVP_DecryptInit_ex(into->context, cipher_, nullptr, material.key, nullptr) == 1;
}

// Derives up to 8 epochs beyond the current one. Epochs end at 65535 and never wrap.
bool Key::deriveFuture() {
  const uint32_t until = std::min(current.epoch + kFutureEpochs, kEpochMax);
  for (; derived_ < until; derived_++) {
    Material& material = future_[(derived_ + 1) % kFutureEpochs];
    if (!expand(receiveSecret_, "data_key", material.key, keyBytes_) || !expand(receiveSecret_, "data_iv", material.iv, 12) ||
        !nextSecret(receiveSecret_))
      return false;
  }
  return true;
}

bool Key::raiseSendEpoch(uint32_t epoch) {
  if (epoch > kEpochMax) return false;
  // The secret handed to setUp is already that of epoch 1.
  if (sendEpoch == 0) sendEpoch = 1;
  for (; sendEpoch < epoch; sendEpoch++)
    if (!nextSecret(sendSecret_)) return false;
  lastId = 0;
  sealedPackets = sealedBlocks = 0;
  if (sendContext == nullptr) sendContext = EVP_CIPHER_CTX_new();
  uint8_t key[32];
  const bool ok = sendContext != nullptr && expand(sendSecret_, "data_key", key, keyBytes_) &&
                  expand(sendSecret_, "data_iv", sendIv, 12) &&
                  EVP_EncryptInit_ex(sendContext, cipher_, nullptr, key, nullptr) == 1;
  OPENSSL_cleanse(key, sizeof key);
  return ok;
}

uint64_t Key::reserve(uint32_t packets, uint64_t blocks) {
  const uint64_t used = sealedPackets + sealedBlocks + packets + blocks;
  if (epochFormat) {
    if (lastId + packets > kEpochIdMax || (gcm_ && used > kAeadLimit / 8 * 7))
      if (!raiseSendEpoch(sendEpoch + 1)) return 0;
  } else if (lastId + packets > UINT32_MAX || (gcm_ && used + openedPackets + openedBlocks > kAeadLimit)) {
    return 0;
  }
  const uint64_t first = lastId + 1;
  lastId += packets;
  sealedPackets += packets;
  sealedBlocks += blocks;
  return first;
}

ReceiveKey* Key::receiveKey(uint32_t epoch) {
  if (epoch == current.epoch) return &current;
  if (epoch == 0 || epoch > derived_) return nullptr;
  if (epoch < current.epoch) return epoch == previous.epoch ? &previous : nullptr;
  if (trial.epoch != epoch && !load(&trial, future_[epoch % kFutureEpochs], epoch)) {
    trial.epoch = 0;
    return nullptr;
  }
  return &trial;
}

bool Key::authenticated(ReceiveKey* key) {
  if (key != &trial) return true;
  std::swap(previous, current);
  std::swap(current, trial);
  trial.epoch = 0;  // holds the context of the epoch before the previous
  openedPackets = openedBlocks = 0;
  return deriveFuture() && (sendEpoch >= current.epoch || raiseSendEpoch(current.epoch));
}

bool Key::forward(uint64_t packetId, uint32_t epoch) {
  if (epoch > sendEpoch && (!epochFormat || !raiseSendEpoch(epoch))) return false;
  if (packetId > (epochFormat ? kEpochIdMax : UINT32_MAX)) return false;
  lastId = std::max(lastId, packetId);
  return true;
}

Key* findKey(int32_t handle) {
  if (handle < 0) return nullptr;
  Key* key = table.keys[static_cast<uint32_t>(handle) & (kCapacity - 1)].load(std::memory_order_acquire);
  return key != nullptr && key->handle == handle ? key : nullptr;
}

napi_value keyInstall(napi_env env, napi_callback_info info) {
  Call call(env, info);
  const std::string name = call.text(0, "cipher");
  KeySpec spec{};
  spec.epochFormat = call.booleanField(0, "epochFormat", false);
  const Bytes encryptKey = call.bytesField(0, "encryptKey"), encryptIv = call.bytesField(0, "encryptIv");
  const Bytes decryptKey = call.bytesField(0, "decryptKey"), decryptIv = call.bytesField(0, "decryptIv");
  if (call.failed()) return nullptr;
  if (name == "AES-128-GCM") spec.cipher = EVP_aes_128_gcm();
  else if (name == "AES-192-GCM") spec.cipher = EVP_aes_192_gcm();
  else if (name == "AES-256-GCM") spec.cipher = EVP_aes_256_gcm();
  else if (name == "CHACHA20-POLY1305") spec.cipher = EVP_chacha20_poly1305();
  else return call.rangeError("Not a cipher of the data channel: " + name);
  spec.gcm = name != "CHACHA20-POLY1305";
  const size_t keyBytes = spec.epochFormat ? kSecretBytes : static_cast<size_t>(EVP_CIPHER_get_key_length(spec.cipher));
  if (encryptKey.size != keyBytes || decryptKey.size != keyBytes)
    return call.rangeError("Expected keys of " + std::to_string(keyBytes) + " bytes");
  if (!spec.epochFormat && (encryptIv.size != 8 || decryptIv.size != 8)) return call.rangeError("Expected implicit IVs of 8 bytes");
  if (allZero(encryptKey.data, keyBytes) || allZero(decryptKey.data, keyBytes)) return call.rangeError("A key is all zero");
  spec.encryptKey = encryptKey.data;
  spec.encryptIv = encryptIv.data;
  spec.decryptKey = decryptKey.data;
  spec.decryptIv = decryptIv.data;
  auto key = std::make_unique<Key>();
  if (!key->setUp(spec)) {
    napi_throw_error(env, nullptr, "The cipher could not be set up");
    return nullptr;
  }
  const std::lock_guard<std::mutex> guard(table.lock);
  for (uint32_t tried = 0; tried < kCapacity; tried++) {
    const uint32_t index = table.next++ & (kCapacity - 1);
    if (table.keys[index].load(std::memory_order_relaxed) != nullptr) continue;
    table.generations[index] = static_cast<uint16_t>((table.generations[index] + 1) % kGenerations);
    key->handle = static_cast<int32_t>(table.generations[index] << kIndexBits | index);
    const int32_t handle = key->handle;
    table.keys[index].store(key.release(), std::memory_order_release);
    return call.result(handle);
  }
  return call.result(-1);
}

napi_value keyFree(napi_env env, napi_callback_info info) {
  Call call(env, info);
  const int32_t handle = call.integer(0);
  if (call.failed()) return nullptr;
  const std::lock_guard<std::mutex> guard(table.lock);
  Key* key = findKey(handle);
  if (key == nullptr) return call.rangeError("No such key");
  table.keys[static_cast<uint32_t>(handle) & (kCapacity - 1)].store(nullptr, std::memory_order_release);
  delete key;
  return nullptr;
}

napi_value keyUsage(napi_env env, napi_callback_info info) {
  Call call(env, info);
  const Key* key = findKey(call.integer(0));
  const Bytes out = call.array(1, napi_float64_array, 8);
  if (call.failed()) return nullptr;
  if (key == nullptr) return call.rangeError("No such key");
  const uint64_t values[8] = {key->sealedPackets, key->sealedBlocks, key->openedPackets,    key->openedBlocks,
                              key->failedTags,    key->sendEpoch,    key->current.epoch, key->lastId};
  for (size_t i = 0; i < 8; i++) reinterpret_cast<double*>(out.data)[i] = static_cast<double>(values[i]);
  return nullptr;
}

napi_value keyForwardForTest(napi_env env, napi_callback_info info) {
  Call call(env, info);
  Key* key = findKey(call.integer(0));
  const double packetId = call.number(1);
  const int32_t epoch = call.integer(2);
  if (call.failed()) return nullptr;
  if (key == nullptr) return call.rangeError("No such key");
  if (!(packetId >= 0 && packetId < 281474976710656.0) || epoch < 0 || epoch > 0xffff ||
      !key->forward(static_cast<uint64_t>(packetId), static_cast<uint32_t>(epoch)))
    return call.rangeError("The key cannot go there");
  return nullptr;
}
