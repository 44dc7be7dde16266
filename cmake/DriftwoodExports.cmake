# libdriftwood shows what include/driftwood.h declares with DW_API and nothing else: the list
# is read from the header.
set(header "${CMAKE_SOURCE_DIR}/include/driftwood.h")
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS "${header}")
file(READ "${header}" text)
string(REGEX MATCHALL "\nDW_API[^;]*;" declarations "${text}")
set(DRIFTWOOD_EXPORTS "")
foreach(declaration IN LISTS declarations)
    string(REGEX MATCH "dw_[a-z0-9_]+\\(" symbol "${declaration}")
    string(REPLACE "(" "" symbol "${symbol}")
    list(APPEND DRIFTWOOD_EXPORTS ${symbol})
endforeach()

if(APPLE)
    list(TRANSFORM DRIFTWOOD_EXPORTS PREPEND "_" OUTPUT_VARIABLE symbols)
    list(JOIN symbols "\n" symbols)
    file(WRITE "${CMAKE_BINARY_DIR}/driftwood.exports" "${symbols}\n")
    target_link_options(driftwood_shared PRIVATE
        "LINKER:-exported_symbols_list,${CMAKE_BINARY_DIR}/driftwood.exports")
else()
    list(JOIN DRIFTWOOD_EXPORTS ";\n        " symbols)
    file(WRITE "${CMAKE_BINARY_DIR}/driftwood.map"
        "{\n    global:\n        ${symbols};\n    local: *;\n};\n")
    target_link_options(driftwood_shared PRIVATE
        "LINKER:--version-script,${CMAKE_BINARY_DIR}/driftwood.map")
endif()
