/* The plain loop of readall.py in C: reads every file of a list and does nothing with it. Prints the loop's seconds. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static char buffer[16384];

static char *whole(const char *path, size_t *size)
{
	FILE *file = fopen(path, "r");
	char *text;

	if (!file || fseek(file, 0, SEEK_END))
		return NULL;
	*size = ftell(file);
	rewind(file);
	text = malloc(*size + 1);
	if (text && fread(text, 1, *size, file) == *size)
		text[*size] = '\0';
	fclose(file);
	return text;
}

int main(int argc, char **argv)
{
	struct timespec from, to;
	size_t size;
	char *list = argc == 2 ? whole(argv[1], &size) : NULL;
	char *line, *end;

	if (!list)
		return 1;
	clock_gettime(CLOCK_MONOTONIC, &from);
	for (line = list; (end = memchr(line, '\n', list + size - line)); line = end + 1) {
		*end = '\0';
		if (line[0] == 'l') {
			if (readlink(line + 2, buffer, sizeof buffer) < 0)
				return 1;
		} else {
			int fd = open(line + 2, O_RDONLY | O_CLOEXEC);

			if (fd < 0 || read(fd, buffer, sizeof buffer) < 0)
				return 1;
			close(fd);
		}
	}
	clock_gettime(CLOCK_MONOTONIC, &to);
	printf("%.6f\n", (to.tv_sec - from.tv_sec) + (to.tv_nsec - from.tv_nsec) / 1e9);
	return 0;
}
