/* System calls: INT 40h. */
#pragma once
enum { CALL_WRITE, CALL_TICKS, CALL_SLEEP, CALL_EXIT };
