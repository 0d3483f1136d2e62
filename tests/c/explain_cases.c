/* linchpin_explain: an answer in every case, and a text that fits. */
#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

#include "tests/c/check.h"

void ExplainsWhatSpeaksAgainstIt(void) {
  char* memory = MapPages(3);
  char text[1000];
  CHECK_EQ(linchpin_explain(memory, 3 * kPage, LINCHPIN_LOCAL_WRITE, text, sizeof text), 0);
  CHECK(strstr(text, "allowed: nothing speaks against") == text);

  CHECK_EQ(mprotect(memory + kPage, kPage, PROT_READ), 0);
  CHECK_EQ(linchpin_explain(memory, 3 * kPage, LINCHPIN_LOCAL_WRITE, text, sizeof text), 0);
  CHECK(strstr(text, "refused: ") == text && strstr(text, "without the write permission") != NULL);
  CHECK(strstr(text, "; give the memory write permission") != NULL);

  CHECK_EQ(linchpin_explain(memory, 1, LINCHPIN_REMOTE_WRITE, text, sizeof text), 0);
  CHECK(strstr(text, "refused: access RemoteWrite") == text);
  CHECK_EQ(linchpin_explain(memory, 0, 0, text, sizeof text), 0);
  CHECK(strstr(text, "refused: the length") == text);
  CHECK_EQ(linchpin_explain(memory, SIZE_MAX, 0, text, sizeof text), 0);
  CHECK(strstr(text, "wrap around") != NULL);
  CHECK_EQ(linchpin_explain(NULL, 1, 0, text, sizeof text), 0);
  CHECK(strstr(text, "refused: the address is null") == text);
  UnmapPages(memory, 3);
}

void AnExplanationIsCutToItsRoom(void) {
  char* memory = MapPages(1);
  char text[12];
  memset(text, 'x', sizeof text);
  CHECK_EQ(linchpin_explain(memory, kPage, 0, text, 10), 0);
  CHECK_EQ(strlen(text), 9);
  CHECK(strncmp(text, "allowed: ", 9) == 0);
  CHECK_EQ(text[10], 'x');
  CHECK_EQ(linchpin_explain(memory, kPage, 0, text, 1), 0);
  CHECK_EQ(text[0], 0);
  CHECK_EQ(linchpin_explain(memory, kPage, 0, text, 0), -EINVAL);
  CHECK_EQ(linchpin_explain(memory, kPage, 0, NULL, 10), -EINVAL);
  CHECK(strstr(linchpin_last_error(), "text is NULL") != NULL);
  UnmapPages(memory, 1);
}
