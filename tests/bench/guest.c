/* A plugin for QEMU's emulation that counts what a guest executes, block by block: one record for each block that was
 * translated, in a file that grows as blocks come and can be read while the guest runs. Debian packs no header for
 * plugins; the few functions of version 1 of their interface are declared here.
 *
 *   cc -O2 -shared -fPIC -o guest.so guest.c      qemu-system-x86_64 -plugin guest.so,out=FILE ...
 */
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

typedef uint64_t plugin;
struct block;
void qemu_plugin_register_vcpu_tb_trans_cb(plugin, void (*)(plugin, struct block *));
void qemu_plugin_register_vcpu_tb_exec_inline(struct block *, int add, void *counter, uint64_t one);
uint64_t qemu_plugin_tb_vaddr(const struct block *);
size_t qemu_plugin_tb_n_insns(const struct block *);

struct record {
    uint64_t address, instructions, times;
};
enum { MOST = 4 << 20 };

int qemu_plugin_version = 1;
static struct record *records;
static uint64_t used;

static void translated(plugin id, struct block *block) {
    struct record *record = &records[used < MOST - 1 ? used++ : used];
    record->address = qemu_plugin_tb_vaddr(block);
    record->instructions = qemu_plugin_tb_n_insns(block);
    qemu_plugin_register_vcpu_tb_exec_inline(block, 0, &record->times, 1);
}

int qemu_plugin_install(plugin id, const void *info, int count, char **words) {
    if (count != 1 || strncmp(words[0], "out=", 4) != 0)
        return 1;
    int file = open(words[0] + 4, O_RDWR | O_CREAT | O_TRUNC, 0600);
    if (file < 0 || ftruncate(file, MOST * sizeof(struct record)) != 0)
        return 1;
    records = mmap(0, MOST * sizeof(struct record), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (records == MAP_FAILED)
        return 1;
    qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
    return 0;
}
