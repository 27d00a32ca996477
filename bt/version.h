#pragma once
#ifndef BT_VERSION
#define BT_VERSION "0.1.0" /* the build gives the project's */
#endif
