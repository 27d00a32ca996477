# cmake -DNM=nm -DLIBRARY=lib.a -DPLAIN="a.c;b.c" -P check_symbols.cmake
#
# Fails if a member of LIBRARY, other than those of PLAIN, refers to anything but what another non-plain member defines or what the
# other folders promise to be callable with the guest's FPU state live (D7). The usual culprit is a loop that became memset.
cmake_minimum_required(VERSION 3.25)
set(ALLOWED "^(direct_|mirrors_|mmu_|tc_|tcache_|tr_|signals_|report_|machine_|clock_|vm_stop$|insn_|op_kind_|_GLOBAL_OFFSET_TABLE_$)")

function(bt_members kind flags result)
  execute_process(COMMAND ${NM} ${flags} ${LIBRARY} OUTPUT_VARIABLE text ERROR_QUIET COMMAND_ERROR_IS_FATAL ANY)
  string(REPLACE "\n" ";" lines "${text}")
  set(member "")
  set(symbols "")
  foreach(line IN LISTS lines)
    if(line MATCHES "^(.*)\\.o:$")
      set(member "${CMAKE_MATCH_1}")
    elseif(NOT member IN_LIST PLAIN AND line MATCHES "${kind} ([A-Za-z0-9_.]+)$")
      list(APPEND symbols "${CMAKE_MATCH_1}@${member}")
    endif()
  endforeach()
  set(${result} "${symbols}" PARENT_SCOPE)
endfunction()

bt_members("[TDBRVWC]" "-g;--defined-only" defined)
bt_members("U" "-u" undefined)
list(TRANSFORM defined REPLACE "@.*" "")

set(bad "")
foreach(entry IN LISTS undefined)
  string(REGEX REPLACE "@.*" "" symbol "${entry}")
  if(NOT symbol IN_LIST defined AND NOT symbol MATCHES "${ALLOWED}")
    list(APPEND bad "${entry}")
  endif()
endforeach()
if(bad)
  string(REPLACE ";" "\n  " bad "${bad}")
  message(FATAL_ERROR "code that runs with the guest's FPU state live calls outside (symbol@source):\n  ${bad}")
endif()
