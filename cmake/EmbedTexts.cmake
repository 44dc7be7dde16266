# Texts as C arrays with a NUL behind: cmake "-DTEXTS=NAME=FILE|NAME=FILE..." -DOUT=FILE -P EmbedTexts.cmake
# makes `static const char embedded_NAME[]` of each.
set(text "/* Made by cmake/EmbedTexts.cmake. */\n")
string(REPLACE "|" ";" TEXTS "${TEXTS}")
foreach(one IN LISTS TEXTS)
    string(REGEX MATCH "^([a-z_]+)=(.*)$" found "${one}")
    set(name "${CMAKE_MATCH_1}")
    file(READ "${CMAKE_MATCH_2}" hex HEX)
    string(REGEX REPLACE "(................................)" "\\1\n" hex "${hex}")
    string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," hex "${hex}")
    string(APPEND text "static const char embedded_${name}[] = {\n${hex}0};\n")
endforeach()
file(WRITE "${OUT}" "${text}")
