# Fails when an object of LIBRARY refers to a symbol that does not begin with ALLOWED: code that runs while the guest's x87/SSE state is
# live may not call libc, and the compiler is free to turn loops and copies into such calls.
execute_process(COMMAND ${NM} -u ${LIBRARY} OUTPUT_VARIABLE listing RESULT_VARIABLE status)
if(NOT status EQUAL 0)
  message(FATAL_ERROR "${NM} failed on ${LIBRARY}")
endif()
string(REGEX MATCHALL " U [^\n]+" symbols "${listing}")
foreach(symbol IN LISTS symbols)
  string(SUBSTRING "${symbol}" 3 -1 name)
  if(NOT name MATCHES "^${ALLOWED}" AND NOT name STREQUAL "_GLOBAL_OFFSET_TABLE_")
    file(REMOVE ${LIBRARY})
    message(FATAL_ERROR "${LIBRARY} refers to ${name}, which is not ours")
  endif()
endforeach()
