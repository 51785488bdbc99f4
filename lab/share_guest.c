/* The one program of the guest whose kernel is an NFS and SMB client: first process, and a server of system calls.
 *
 * The guest has one network interface and one virtio-serial port for each client. A client is a process in a network
 * and a UTS namespace of its own: to a file server it is a machine of its own, with its address and its host name.
 * It reads calls from its port, one a line, and answers each:
 *
 *     ID CALL ARGUMENT...          ->  ID ERRNO VALUE
 *
 * Arguments and values have their spaces, newlines and percent signs as %XX. When the other side of a port is closed
 * the guest restarts, which ends its QEMU.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define LINE 65536
#define WORDS 8
#define BLOCK 4096
#define CHUNK (1 << 20)

static char value[LINE];

static char *option(const char *name)
{
	static char line[2048], found[256];
	int file = open("/proc/cmdline", O_RDONLY | O_CLOEXEC);
	ssize_t length = read(file, line, sizeof line - 1);
	close(file);
	line[length > 0 ? length : 0] = 0;
	char *at = strstr(line, name);
	if (!at || sscanf(at + strlen(name), "%255s", found) != 1)
		return "";
	return found;
}

static void load_modules(void)
{
	char name[128];
	FILE *list = fopen("/modules.list", "r");
	while (list && fscanf(list, "%127s", name) == 1) {
		int file = open(name, O_RDONLY | O_CLOEXEC);
		if (file < 0 || (syscall(SYS_finit_module, file, "", 0) && errno != EEXIST))
			printf("MODULE %s: %s\n", name, strerror(errno));
		close(file);
	}
	if (list)
		fclose(list);
}

static void run(const char *format, ...)
{
	char command[512];
	va_list arguments;
	va_start(arguments, format);
	vsnprintf(command, sizeof command, format, arguments);
	va_end(arguments);
	pid_t child = fork();
	if (!child) {
		execl("/bin/busybox", "sh", "-c", command, (char *)0);
		_exit(127);
	}
	int status;
	waitpid(child, &status, 0);
	if (status)
		printf("COMMAND %s: %d\n", command, status);
}

/* 4 KiB that say which block of which pattern they are: the host's `Pattern` composes the same. */
static void compose(char *block, uint64_t seed, uint64_t number)
{
	char line[65];
	snprintf(line, sizeof line, "pattern %016" PRIx64 " block %016" PRIx64 " of 4096 bytes..\n", seed, number);
	for (int at = 0; at < BLOCK; at += 64)
		memcpy(block + at, line, 64);
}

static uint32_t crc32(uint32_t crc, const unsigned char *bytes, size_t length)
{
	static uint32_t table[256];
	if (!table[1])
		for (uint32_t i = 0; i < 256; i++) {
			table[i] = i;
			for (int bit = 0; bit < 8; bit++)
				table[i] = table[i] & 1 ? table[i] >> 1 ^ 0xEDB88320u : table[i] >> 1;
		}
	for (crc = ~crc; length--; bytes++)
		crc = table[(crc ^ *bytes) & 255] ^ crc >> 8;
	return ~crc;
}

/* Write `length` bytes of a pattern at `offset` (a multiple of 4096); the value is how many were written. */
static int write_pattern(int file, uint64_t offset, uint64_t length, uint64_t seed)
{
	static char chunk[CHUNK];
	uint64_t done = 0;
	int error = 0;
	while (done < length && !error) {
		uint64_t size = length - done < CHUNK ? length - done : CHUNK;
		for (uint64_t at = 0; at < size; at += BLOCK)
			compose(chunk + at, seed, (offset + done + at) / BLOCK);
		ssize_t written = pwrite(file, chunk, size, offset + done);
		if (written < 0)
			error = errno;
		else
			done += written - written % (written < (ssize_t)size ? BLOCK : 1);
	}
	snprintf(value, sizeof value, "%" PRIu64, done);
	return error;
}

/* Read to the end; the value is the number of bytes and their CRC-32. */
static int read_crc(int file)
{
	static unsigned char chunk[CHUNK];
	uint64_t total = 0;
	uint32_t crc = 0;
	ssize_t got;
	while ((got = pread(file, chunk, sizeof chunk, total)) > 0) {
		crc = crc32(crc, chunk, got);
		total += got;
	}
	snprintf(value, sizeof value, "%" PRIu64 " %" PRIu32, total, crc);
	return got < 0 ? errno : 0;
}

static void put_word(const char *word)
{
	size_t used = strlen(value);
	if (used)
		value[used++] = ' ';
	for (; *word && used < sizeof value - 8; word++)
		if (*word <= ' ' || *word == '%')
			used += sprintf(value + used, "%%%02X", (unsigned char)*word);
		else
			value[used++] = *word;
	value[used] = 0;
}

static int list_names(const char *path)
{
	DIR *directory = opendir(path);
	if (!directory)
		return errno;
	struct dirent *entry;
	errno = 0;
	while ((entry = readdir(directory)))
		if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, ".."))
			put_word(entry->d_name);
	int error = errno;
	closedir(directory);
	return error;
}

static int space_of(const char *path)
{
	struct statvfs space;
	if (statvfs(path, &space))
		return errno;
	uint64_t unit = space.f_frsize;
	snprintf(value, sizeof value, "%" PRIu64 " %" PRIu64 " %" PRIu64, space.f_blocks * unit, space.f_bfree * unit,
		 space.f_bavail * unit);
	return 0;
}

static int facts_of(const char *path)
{
	struct stat facts;
	if (lstat(path, &facts))
		return errno;
	snprintf(value, sizeof value, "%" PRId64 " %u %u %u", (int64_t)facts.st_size, facts.st_mode, facts.st_uid,
		 facts.st_gid);
	return 0;
}

static int lock_whole(int file, int kind)
{
	struct flock whole = {.l_type = kind, .l_whence = SEEK_SET};
	return fcntl(file, F_SETLK, &whole) ? errno : 0;
}

static int opened(int file)
{
	if (file < 0)
		return errno;
	snprintf(value, sizeof value, "%d", file);
	return 0;
}

#define CALL(name, count) (!strcmp(word[0], name) && words == 1 + (count))
#define NUMBER(index) strtoull(word[index], NULL, 10)
#define ERROR_OF(call) ((call) < 0 ? errno : 0)

static int answer(char **word, int words)
{
	if (CALL("mount", 5)) /* source, target, type, flags, data */
		return ERROR_OF(mount(word[1], word[2], word[3], NUMBER(4), word[5]));
	if (CALL("umount", 2))
		return ERROR_OF(umount2(word[1], NUMBER(2)));
	if (CALL("mkdir", 2))
		return ERROR_OF(mkdir(word[1], NUMBER(2)));
	if (CALL("rmdir", 1))
		return ERROR_OF(rmdir(word[1]));
	if (CALL("unlink", 1))
		return ERROR_OF(unlink(word[1]));
	if (CALL("rename", 2))
		return ERROR_OF(rename(word[1], word[2]));
	if (CALL("chmod", 2))
		return ERROR_OF(chmod(word[1], NUMBER(2)));
	if (CALL("open", 3)) /* path, flags, mode */
		return opened(open(word[1], NUMBER(2) | O_CLOEXEC, NUMBER(3)));
	if (CALL("close", 1))
		return ERROR_OF(close(NUMBER(1)));
	if (CALL("fsync", 1))
		return ERROR_OF(fsync(NUMBER(1)));
	if (CALL("truncate", 2))
		return ERROR_OF(ftruncate(NUMBER(1), NUMBER(2)));
	if (CALL("fallocate", 3)) /* file, offset, length */
		return ERROR_OF(fallocate(NUMBER(1), 0, NUMBER(2), NUMBER(3)));
	if (CALL("lock", 2))
		return lock_whole(NUMBER(1), NUMBER(2));
	if (CALL("write", 4)) /* file, offset, length, seed */
		return write_pattern(NUMBER(1), NUMBER(2), NUMBER(3), NUMBER(4));
	if (CALL("read", 1))
		return read_crc(NUMBER(1));
	if (CALL("list", 1))
		return list_names(word[1]);
	if (CALL("space", 1))
		return space_of(word[1]);
	if (CALL("facts", 1))
		return facts_of(word[1]);
	return ENOSYS;
}

static void decode(char *text)
{
	char *to = text;
	for (char *from = text; *from; to++) {
		char hex[3] = {0};
		if (*from == '%' && from[1] && from[2]) {
			memcpy(hex, from + 1, 2);
			*to = strtoul(hex, NULL, 16);
			from += 3;
		} else {
			*to = *from++;
		}
	}
	*to = 0;
}

static void serve(int port)
{
	static char line[LINE];
	FILE *calls = fdopen(port, "r");
	while (fgets(line, sizeof line, calls)) {
		/* The identifier is the first word; empty arguments are sent as "%". */
		char *word[WORDS + 1], *rest = line, *next;
		int words = 0, error;
		while (words <= WORDS && (next = strsep(&rest, " \n")) && (*next || rest))
			if (*next) {
				int empty = !strcmp(next, "%");
				decode(next);
				word[words++] = empty ? "" : next;
			}
		if (!words)
			continue;
		value[0] = 0;
		error = words > 1 ? answer(word + 1, words - 1) : ENOSYS;
		dprintf(port, "%s %d %s\n", word[0], error, value);
	}
}

/* Become client `index` once the parent has given this namespace its interface. */
static void be_client(int index, int told, int ready)
{
	char path[64], name[64];
	unshare(CLONE_NEWNET | CLONE_NEWUTS);
	write(told, "x", 1);
	read(ready, name, 1);
	snprintf(name, sizeof name, "client%d", index);
	sethostname(name, strlen(name));
	run("busybox ip link set lo up");
	run("busybox ip address add %s.%d/24 dev eth%d", option("share.network="), atoi(option("share.first=")) + index, index);
	run("busybox ip -6 address add %s%x/64 dev eth%d", option("share.network6="),
	    atoi(option("share.first=")) + index, index);
	run("echo 0 > /proc/sys/net/ipv6/conf/eth%d/accept_dad; busybox ip link set eth%d up", index, index);
	snprintf(path, sizeof path, "/dev/vport0p%d", index + 1);
	int port = -1;
	for (int attempt = 0; attempt < 100 && port < 0; attempt++, usleep(100000))
		port = open(path, O_RDWR | O_CLOEXEC);
	dprintf(port, "0 0 ready\n");
	serve(port);
	reboot(RB_AUTOBOOT);
}

static void start_client(int index)
{
	int told[2], ready[2];
	char byte;
	pipe2(told, O_CLOEXEC);
	pipe2(ready, O_CLOEXEC);
	pid_t client = fork();
	if (!client)
		be_client(index, told[1], ready[0]);
	read(told[0], &byte, 1);
	run("busybox ip link set eth%d netns %d", index, client);
	write(ready[1], "x", 1);
}

int main(void)
{
	mkdir("/proc", 0755);
	mkdir("/sys", 0755);
	mkdir("/dev", 0755);
	mkdir("/mnt", 0755);
	mount("proc", "/proc", "proc", 0, "");
	mount("sysfs", "/sys", "sysfs", 0, "");
	mount("dev", "/dev", "devtmpfs", 0, "");
	freopen("/dev/ttyS0", "w", stdout);
	setvbuf(stdout, NULL, _IOLBF, 0);
	load_modules();
	int clients = atoi(option("share.clients="));
	for (int index = 0; index < clients; index++)
		start_client(index);
	printf("GUEST-UP\n");
	for (;;)
		if (wait(NULL) < 0)
			pause();
}
