/* The one program of the tiny guest: first process, record keeper and power button.
 *
 * It loads the modules in /modules.list order, mounts each data file system (partition 2 of the boot disk, the
 * whole of every further disk) below /data, verifies the records there, says so on the console, and then appends the
 * same records to all of them, fsync after each, until the power button is pressed. Records are one sector, so a
 * power cut or a point-in-time copy leaves a record whole or absent. The file is a ring: it stays bounded.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/input.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define RECORD 512
#define SLOTS 16384 /* 8 MiB a disk */
#define DISKS 8
#define BUTTONS 8

static int files[DISKS], disks, buttons[BUTTONS], button_count;

static uint64_t checksum(const char *bytes, size_t length)
{
	uint64_t hash = 14695981039346656037ull; /* FNV-1a */
	for (size_t i = 0; i < length; i++)
		hash = (hash ^ (unsigned char)bytes[i]) * 1099511628211ull;
	return hash;
}

/* Record n is the same wherever it is written: "RECORD n ", bytes that follow from n, checksum, newline. */
static void compose(char *record, uint64_t n)
{
	uint64_t state = n * 6364136223846793005ull + 1442695040888963407ull;
	int used = snprintf(record, RECORD, "RECORD %016" PRIu64 " ", n);
	for (int i = used; i < RECORD - 18; i++) {
		state = state * 6364136223846793005ull + 1442695040888963407ull;
		record[i] = 'a' + (state >> 33) % 26;
	}
	char tail[20];
	snprintf(tail, sizeof tail, " %016" PRIx64 "\n", checksum(record, RECORD - 18));
	memcpy(record + RECORD - 18, tail, 18);
}

/* Count good and bad records of one file; last is the highest number seen. */
static void verify(int file, uint64_t *ok, uint64_t *bad, uint64_t *last)
{
	char record[RECORD], wanted[RECORD];
	struct stat status;
	fstat(file, &status);
	uint64_t count = status.st_size / RECORD;
	*ok = *bad = *last = 0;
	for (uint64_t slot = 0; slot < count; slot++) {
		uint64_t n = 0;
		if (pread(file, record, RECORD, slot * RECORD) != RECORD || sscanf(record, "RECORD %" SCNu64 " ", &n) != 1)
			continue;
		if (n > *last)
			*last = n;
	}
	for (uint64_t slot = 0; slot < count; slot++) {
		/* the newest number that belongs in this slot of the ring */
		uint64_t newest = *last - (*last - 1 - slot % SLOTS) % SLOTS;
		compose(wanted, *last >= 1 ? newest : 0);
		if (pread(file, record, RECORD, slot * RECORD) == RECORD && !memcmp(record, wanted, RECORD))
			++*ok;
		else
			++*bad;
	}
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

static int try_mount(const char *device)
{
	char where[32];
	snprintf(where, sizeof where, "/data/%d", disks);
	mkdir(where, 0755);
	if (mount(device, where, "ext4", MS_NOATIME, ""))
		return -1;
	strcat(where, "/records");
	files[disks] = open(where, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
	return files[disks] < 0 ? -1 : disks++;
}

/* Disks come up in their own time and, on SCSI, in any order: take what there is until there are `wanted`. */
static void mount_disks(int wanted)
{
	static const char *const families[] = {"vd", "sd"};
	char taken[2][26] = {{0}};
	mkdir("/data", 0755);
	for (int attempt = 0; attempt < 300 && disks < wanted; attempt++) {
		for (int family = 0; family < 2; family++)
			for (int letter = 0; letter < 26 && disks < wanted; letter++) {
				char whole[32], second[32];
				snprintf(whole, sizeof whole, "/dev/%s%c", families[family], 'a' + letter);
				snprintf(second, sizeof second, "%s2", whole);
				if (taken[family][letter] || access(whole, F_OK))
					continue;
				taken[family][letter] = try_mount(access(second, F_OK) ? whole : second) >= 0;
			}
		usleep(100000);
	}
}

static void open_buttons(void)
{
	DIR *inputs = opendir("/dev/input");
	struct dirent *entry;
	while (inputs && (entry = readdir(inputs)) && button_count < BUTTONS) {
		char path[300];
		snprintf(path, sizeof path, "/dev/input/%s", entry->d_name);
		if (strncmp(entry->d_name, "event", 5) == 0)
			buttons[button_count++] = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	}
	if (inputs)
		closedir(inputs);
}

static int power_pressed(void)
{
	struct input_event event;
	for (int i = 0; i < button_count; i++)
		while (read(buttons[i], &event, sizeof event) == sizeof event)
			if (event.type == EV_KEY && event.code == KEY_POWER && event.value == 1)
				return 1;
	return 0;
}

static void power_off(uint64_t last)
{
	printf("GUEST-DOWN last=%" PRIu64 "\n", last);
	for (int i = 0; i < disks; i++) {
		char where[32];
		snprintf(where, sizeof where, "/data/%d", i);
		close(files[i]);
		umount(where);
	}
	sync();
	reboot(RB_POWER_OFF);
}

/* Ask for an address in the background; a guest without a network does without. */
static void configure_network(void)
{
	if (fork())
		return;
	execl("/bin/busybox", "sh", "/network", (char *)0);
	_exit(1);
}

static int option(const char *name, int otherwise)
{
	char line[1024] = "", *found;
	int file = open("/proc/cmdline", O_RDONLY | O_CLOEXEC);
	ssize_t length = read(file, line, sizeof line - 1);
	close(file);
	return length > 0 && (found = strstr(line, name)) ? atoi(found + strlen(name)) : otherwise;
}

int main(void)
{
	uint64_t last = 0, total_ok = UINT64_MAX, total_bad = 0;
	char record[RECORD];
	mkdir("/proc", 0755);
	mkdir("/dev", 0755);
	mount("proc", "/proc", "proc", 0, "");
	mount("dev", "/dev", "devtmpfs", 0, "");
	freopen("/dev/ttyS0", "w", stdout);
	setvbuf(stdout, NULL, _IOLBF, 0);
	load_modules();
	mount_disks(option("tiny.disks=", 1));
	printf("DISKS %d\n", disks);
	for (int i = 0; i < disks; i++) {
		uint64_t ok, bad, here;
		verify(files[i], &ok, &bad, &here);
		/* all disks are of one point in time: they differ by one record at most */
		if (i && (here > last + 1 || last > here + 1))
			bad++;
		last = !i || here < last ? here : last;
		total_ok = ok < total_ok ? ok : total_ok;
		total_bad += bad;
	}
	printf("RECORDS ok=%" PRIu64 " last=%" PRIu64 " bad=%" PRIu64 "\n", disks ? total_ok : 0, last, total_bad);
	open_buttons();
	configure_network();
	printf("GUEST-UP\n");
	int pause_ms = 1000 / option("tiny.rate=", 20);
	for (;;) {
		if (power_pressed())
			power_off(last);
		if (disks) {
			compose(record, ++last);
			for (int i = 0; i < disks; i++)
				if (pwrite(files[i], record, RECORD, ((last - 1) % SLOTS) * RECORD) != RECORD || fsync(files[i]))
					printf("WRITE-ERROR disk %d: %s\n", i, strerror(errno));
			if (last % 10 == 0)
				printf("RECORD %" PRIu64 "\n", last);
		}
		while (waitpid(-1, NULL, WNOHANG) > 0)
			;
		usleep(pause_ms * 1000);
	}
}
