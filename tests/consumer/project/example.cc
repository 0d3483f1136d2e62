// The README's example, word for word from the includes on: compiled, run, and compared with it.
#include <linchpin/linchpin.h>

#include <cstdio>
#include <string>

using linchpin::Access;

int main() {
  auto device = linchpin::LoopbackDevice::Create().value();  // Or: VerbsRegistrar::Create(pd).
  auto cache = linchpin::RegistrationCache::Create(device).value();
  std::string source(65536, ' '), target(65536, ' ');
  for (char byte : {'a', 'b'}) {
    source.assign(source.size(), byte);
    auto from = cache->Acquire(source.data(), source.size(), Access::kLocalRead).value();
    const Access rights = Access::kLocalWrite | Access::kRemoteWrite;
    auto to = cache->Acquire(target.data(), target.size(), rights).value();
    const linchpin::LocalExtent extent{source.data(), source.size(), from.lkey()};
    const auto address = reinterpret_cast<std::uintptr_t>(target.data());
    const auto end = device->Write({&extent, 1}, {.address = address, .rkey = to.rkey()});
    if (end != linchpin::Completion::kSuccess || target != source) return 1;
  }  // The leases end: `from`'s memory stays registered for the next one, `to`'s key dies.
  std::printf("ok: sent twice with %llu hit\n",
              static_cast<unsigned long long>(cache->stats().hits));
}
