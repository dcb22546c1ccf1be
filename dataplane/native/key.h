// One key of the data channel with all its epochs: what a slot of the key table holds.
#pragma once

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string>

constexpr uint32_t kFutureEpochs = 8, kEpochMax = 0xffff;
constexpr uint64_t kEpochIdMax = (1ull << 48) - 1;
constexpr uint64_t kAeadLimit = (1ull << 36) - 1;  // packets + blocks under one AES-GCM key
constexpr size_t kSecretBytes = 32;

// One block of HKDF-Expand-SHA256 with an epoch label; `size` ≤ 32.
inline bool expand(const uint8_t* secret, const std::string& label, uint8_t* out, size_t size) {
  uint8_t block[EVP_MAX_MD_SIZE];
  std::string info = "ovpn " + label;
  info = std::string{0, static_cast<char>(size), static_cast<char>(info.size())} + info + std::string{0, 1};
  const auto* data = reinterpret_cast<const uint8_t*>(info.data());
  const bool ok = HMAC(EVP_sha256(), secret, kSecretBytes, data, info.size(), block, nullptr) != nullptr;
  if (ok) memcpy(out, block, size);
  OPENSSL_cleanse(block, sizeof block);
  return ok;
}

inline size_t keyBytesOf(const EVP_CIPHER* cipher) { return static_cast<size_t>(EVP_CIPHER_get_key_length(cipher)); }

// The key and IV of one epoch, or of a key without epochs.
struct Material {
  uint8_t key[32] = {}, iv[12] = {};
  ~Material() { OPENSSL_cleanse(this, sizeof *this); }
  bool derive(const uint8_t* secret, const EVP_CIPHER* cipher) {
    return expand(secret, "data_key", key, keyBytesOf(cipher)) && expand(secret, "data_iv", iv, sizeof iv);
  }
};

struct DirectionKey {
  EVP_CIPHER_CTX* context = nullptr;
  uint8_t iv[12] = {};
  uint32_t epoch = 0;  // 0: no key yet, or a format without epochs
  bool load(const EVP_CIPHER* cipher, const Material& material, uint32_t ofEpoch, bool sealing) {
    if (context == nullptr) context = EVP_CIPHER_CTX_new();
    memcpy(iv, material.iv, sizeof iv);
    epoch = ofEpoch;
    return context != nullptr && EVP_CipherInit_ex(context, cipher, nullptr, material.key, nullptr, sealing ? 1 : 0) == 1;
  }
};

class Key {
 public:
  ~Key() {
    for (DirectionKey* key : {&sending, &current, &previous, &trial}) EVP_CIPHER_CTX_free(key->context);
    OPENSSL_cleanse(this, sizeof *this);
  }

  // Takes cipher keys and implicit IVs of 8 bytes, or with epochs the secrets E1 of 32 bytes. @returns false on failure.
  bool setUp(const uint8_t* encryptKey, const uint8_t* encryptIv, const uint8_t* decryptKey, const uint8_t* decryptIv) {
    if (epochFormat) {
      memcpy(sendSecret_, encryptKey, kSecretBytes);
      memcpy(receiveSecret_, decryptKey, kSecretBytes);
      sending.epoch = 1;
      return raiseSendEpoch(1) && deriveFuture() && current.load(cipher, future_[1], 1, false) && deriveFuture();
    }
    Material send, receive;
    memcpy(send.key, encryptKey, keyBytesOf(cipher));
    memcpy(send.iv + 4, encryptIv, 8);
    memcpy(receive.key, decryptKey, keyBytesOf(cipher));
    memcpy(receive.iv + 4, decryptIv, 8);
    return sending.load(cipher, send, 0, true) && current.load(cipher, receive, 0, false);
  }

  // Takes `packets` ids for packets of `blocks` in all, moving to the next epoch where the current one has no room.
  // @returns the first id, 0 when the key is exhausted.
  uint64_t reserve(uint32_t packets, uint64_t blocks) {
    const uint64_t used = sealedPackets + sealedBlocks + packets + blocks;
    if (epochFormat) {
      const bool full = lastId + packets > kEpochIdMax || (limited && used > kAeadLimit / 8 * 7);
      if (full && !raiseSendEpoch(sending.epoch + 1)) return 0;
    } else if (lastId + packets > UINT32_MAX || (limited && used + openedPackets + openedBlocks > kAeadLimit)) {
      return 0;
    }
    lastId += packets;
    sealedPackets += packets;
    sealedBlocks += blocks;
    return lastId - packets + 1;
  }

  // @returns the key of `epoch`: the current, the previous or one of the next 8; null for any other.
  DirectionKey* receiveKey(uint32_t epoch) {
    if (epoch == current.epoch) return &current;
    if (epoch == 0 || epoch > derived_) return nullptr;
    if (epoch < current.epoch) return epoch == previous.epoch ? &previous : nullptr;
    return trial.epoch == epoch || trial.load(cipher, future_[epoch % kFutureEpochs], epoch, false) ? &trial : nullptr;
  }

  // A packet of `key` was authentic: makes a future key current and lifts the sending epoch to it.
  bool authenticated(const DirectionKey* key) {
    if (key != &trial) return true;
    std::swap(previous, current);
    std::swap(current, trial);
    trial.epoch = 0;  // what it holds is older than the previous one
    openedPackets = openedBlocks = 0;
    return deriveFuture() && (sending.epoch >= current.epoch || raiseSendEpoch(current.epoch));
  }

  bool forward(uint64_t packetId, uint32_t epoch) {
    if (packetId > (epochFormat ? kEpochIdMax : UINT32_MAX)) return false;
    if (epoch > sending.epoch && (!epochFormat || !raiseSendEpoch(epoch))) return false;
    lastId = std::max(lastId, packetId);
    return true;
  }

  const EVP_CIPHER* cipher = nullptr;
  bool epochFormat = false, limited = false;  // limited: AES-GCM, which wears out
  int32_t handle = -1;
  uint64_t lastId = 0, sealedPackets = 0, sealedBlocks = 0, openedPackets = 0, openedBlocks = 0, failedTags = 0;
  DirectionKey sending, current, previous, trial;

 private:
  // Derives up to 8 epochs beyond the current one. Epochs end at 65535 and never wrap.
  bool deriveFuture() {
    bool ok = true;
    for (; ok && derived_ < std::min(current.epoch + kFutureEpochs, kEpochMax); derived_++)
      ok = future_[(derived_ + 1) % kFutureEpochs].derive(receiveSecret_, cipher) && advance(receiveSecret_);
    return ok;
  }

  bool raiseSendEpoch(uint32_t epoch) {
    Material material;
    bool ok = epoch <= kEpochMax;
    for (uint32_t at = sending.epoch; ok && at < epoch; at++) ok = advance(sendSecret_);
    ok = ok && material.derive(sendSecret_, cipher) && sending.load(cipher, material, epoch, true);
    if (ok) lastId = sealedPackets = sealedBlocks = 0;  // not before: ids would begin anew under the key before
    return ok;
  }

  static bool advance(uint8_t* secret) { return expand(secret, "datakey upd", secret, kSecretBytes); }

  uint8_t sendSecret_[kSecretBytes] = {};     // E of the sending epoch
  uint8_t receiveSecret_[kSecretBytes] = {};  // E of derived_ + 1
  uint32_t derived_ = 0;                      // the last epoch whose material is in future_
  Material future_[kFutureEpochs];            // of epoch e at e % kFutureEpochs
};
