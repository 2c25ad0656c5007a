"""JSON texts that a strict reader accepts or refuses, for the tests of every transport."""

import json
import re

import pytest

PARSE_ERROR, INVALID_REQUEST, INVALID_PARAMS = -32700, -32600, -32602


def call(value, id_=b"1"):
    return b'{"jsonrpc":"2.0","id":%b,"method":"test/echo","params":{"x":%b}}' % (id_, value)


def canonical(line):
    """The line of a request, taken apart: exactly our members, our order, once each."""
    match = re.fullmatch(
        rb'\{"jsonrpc":"2\.0","id":([0-9]+),"method":("[^"\\]*(?:\\.[^"\\]*)*")(?:,"params":(\{.*\}))?\}\n',
        line,
        re.DOTALL,
    )
    assert match, line
    assert line.count(b"\n") == 1
    assert b"\r" not in line
    return json.loads(match[2]), match[3]


INVALID_VALUES = {
    "array_1_true_without_comma": b"[1 true]",
    "array_a_invalid_utf8": b"[a\xe5]",
    "array_colon_instead_of_comma": b'["": 1]',
    "array_comma_after_close": b'[""],,"y":1',
    "array_comma_and_number": b"[,1]",
    "array_double_comma": b"[1,,2]",
    "array_double_extra_comma": b'["x",,]',
    "array_extra_close": b'["x"]]',
    "array_extra_comma": b'["",]',
    "array_incomplete": b'["x"',
    "array_just_comma": b"[,]",
    "array_missing_value": b'[   , ""]',
    "array_spaces_vertical_tab_formfeed": b'["\x0ba"\\f]',
    "array_unclosed_with_new_lines": b"[1,\n1\n,1",
    "incomplete_false": b"[fals]",
    "incomplete_null": b"[nul]",
    "incomplete_true": b"[tru]",
    "multidigit_number_then_00": b"123\x00",
    "number_++": b"[++1234]",
    "number_+1": b"[+1]",
    "number_+Inf": b"[+Inf]",
    "number_-01": b"[-01]",
    "number_-1.0.": b"[-1.0.]",
    "number_-2.": b"[-2.]",
    "number_-NaN": b"[-NaN]",
    "number_.-1": b"[.-1]",
    "number_.2e-3": b"[.2e-3]",
    "number_0.1.2": b"[0.1.2]",
    "number_0.3e+": b"[0.3e+]",
    "number_0.e1": b"[0.e1]",
    "number_0_capital_E+": b"[0E+]",
    "number_1.0e-": b"[1.0e-]",
    "number_1_000": b"[1 000.0]",
    "number_1eE2": b"[1eE2]",
    "number_2.e+3": b"[2.e+3]",
    "number_9.e+": b"[9.e+]",
    "number_Inf": b"[Inf]",
    "number_Infinity": b"[Infinity]",
    "number_-Infinity": b"[-Infinity]",
    "number_NaN": b"[NaN]",
    "number_U+FF11_fullwidth": "[１]".encode(),
    "number_expression": b"[1+2]",
    "number_hex_1_digit": b"[0x1]",
    "number_neg_int_starting_with_zero": b"[-012]",
    "number_neg_real_without_int_part": b"[-.123]",
    "number_minus_space_1": b"[- 1]",
    "number_real_garbage_after_e": b"[1ea]",
    "number_with_alpha": b"[1.2a-3]",
    "number_with_leading_zero": b"[012]",
    "number_just_minus": b"[-]",
    "object_bad_value": b'["x", truth]',
    "object_bracket_key": b'{[: "x"}',
    "object_comma_instead_of_colon": b'{"x", null}',
    "object_double_colon": b'{"x"::"b"}',
    "object_emoji": "{🇨🇭}".encode(),
    "object_garbage_at_end": b'{"a":"a" 123}',
    "object_key_with_single_quotes": b"{key: 'value'}",
    "object_missing_colon": b'{"a" b}',
    "object_missing_key": b'{:"b"}',
    "object_missing_semicolon": b'{"a" "b"}',
    "object_missing_value": b'{"a":',
    "object_non_string_key": b"{1:1}",
    "object_repeated_null_null": b"{null:null,null:null}",
    "object_several_trailing_commas": b'{"id":0,,,,,}',
    "object_single_quote": b"{'a':0}",
    "object_trailing_comma": b'{"id":0,}',
    "object_trailing_comment": b'{"a":"b"}/**/',
    "object_trailing_comment_slash": b'{"a":"b"}//',
    "object_two_commas_in_a_row": b'{"a":"b",,"c":"d"}',
    "object_unquoted_key": b'{a: "b"}',
    "object_with_single_string": b'{ "foo" : "bar", "a" }',
    "string_1_surrogate_then_escape_u": b'["\\uD800\\u"]',
    "string_1_surrogate_then_escape_u1": b'["\\uD800\\u1"]',
    "string_1_surrogate_then_escape_u1x": b'["\\uD800\\u1x"]',
    "string_accentuated_char_no_quotes": "[é]".encode(),
    "string_backslash_00": b'["\\\x00"]',
    "string_escape_x": b'["\\x00"]',
    "string_escaped_backslash_bad": b'["\\\\\\"]',
    "string_escaped_ctrl_char_tab": b'["\\\t"]',
    "string_escaped_emoji": '["\\🌀"]'.encode(),
    "string_incomplete_escape": b'["\\"]',
    "string_incomplete_escaped_character": b'["\\u00A"]',
    "string_incomplete_surrogate": b'["\\uD834\\uDd"]',
    "string_invalid_backslash_esc": b'["\\a"]',
    "string_invalid_unicode_escape": b'["\\uqqqq"]',
    "string_invalid_utf8_after_escape": b'["\\\xe5"]',
    "string_leading_uescaped_thinspace": b'[\\u0020"asd"]',
    "string_no_quotes_with_bad_escape": b"[\\n]",
    "string_single_doublequote": b'["]',
    "string_single_quote": b"['single quote']",
    "string_unescaped_ctrl_char": b'["a\x00a"]',
    "string_unescaped_newline": b'["new\nline"]',
    "string_unescaped_cr": b'["new\rline"]',
    "string_unescaped_tab": b'["\t"]',
    "string_unescaped_unit_separator": b'["\x1f"]',
    "string_unicode_CapitalU": b'["\\UA66D"]',
    "structure_U+2060_word_joined": "[⁠]".encode(),
    "structure_UTF8_BOM_no_data": b"\xef\xbb\xbf",
    "structure_angle_bracket_null": b"[<null>]",
    "structure_ascii_unicode_identifier": b"a\xc3\xa5",
    "structure_capitalized_True": b"[True]",
    "structure_close_unopened_array": b"1]",
    "structure_double_array": b"[][]",
    "structure_no_data": b"",
    "structure_null_byte_outside_string": b"[\x00]",
    "structure_single_star": b"*",
    "structure_uescaped_LF_before_string": b'[\\u000A""]',
    "structure_unicode_identifier": "å".encode(),
    "structure_vertical_tab": b"[\x0b1]",
    "structure_whitespace_formfeed": b"[\x0c]",
    "structure_nbsp": b"[\xc2\xa01]",
    "utf8_overlong_slash": b'["\xc0\xaf"]',
    "utf8_overlong_nul": b'["\xc0\x80"]',
    "utf8_overlong_3": b'["\xe0\x80\xaf"]',
    "utf8_lone_continuation": b'["\x80"]',
    "utf8_truncated": b'["\xe2\x82"]',
    "utf8_surrogate": b'["\xed\xa0\x80"]',
    "utf8_surrogate_pair": b'["\xed\xa0\xbd\xed\xb8\x80"]',
    "utf8_above_10ffff": b'["\xf4\x90\x80\x80"]',
    "utf8_5_bytes": b'["\xf8\x88\x80\x80\x80"]',
    "utf8_latin1": b'["\xe9"]',
    "utf8_fe_ff": b'["\xfe\xff"]',
    "javascript_undefined": b"undefined",
    "javascript_hexadecimal": b"0xff",
    "javascript_octal": b"0o17",
    "javascript_template": b"`x`",
}


# Texts that the test suite leaves open and RFC 8259 section 8.2 allows. A number that no double can represent, such as 1e400,
# is allowed as well.
OPTIONAL_VALUES = {
    "string_lone_high_surrogate": b'["\\ud800"]',
    "string_lone_low_surrogate": b'["\\udc00"]',
    "string_reversed_surrogates": b'["\\uDd1e\\uD834"]',
    "string_surrogate_then_character": b'["\\ud800a"]',
}


VALUES = {
    "array_arraysWithSpaces": b"[[]   ]",
    "array_heterogeneous": b'[null, 1, "1", {}]',
    "array_with_several_null": b"[1,null,null,null,2]",
    "array_with_trailing_space": b"[2] ",
    "number_0e+1": b"[0e+1]",
    "number_after_space": b"[ 4]",
    "number_double_close_to_zero": b"[-0.000000000000000000000000000000000000000000000000000000000000000000000000000001]",
    "number_minus_zero": b"[-0]",
    "number_real_capital_e_neg_exp": b"[1E-2]",
    "number_real_fraction_exponent": b"[123.456e78]",
    "number_2^53+1": b"[9007199254740993]",
    "number_2^64": b"[18446744073709551616]",
    "number_1000_digits": b"[" + b"9" * 1000 + b"]",
    "object_basic": b'{"asd":"sdf"}',
    "object_duplicated_key": b'{"a":"b","a":"c"}',
    "object_empty_key": b'{"":0}',
    "object_escaped_null_in_key": b'{"foo\\u0000bar": 42}',
    "object_proto": b'{"__proto__":{"x":1}}',
    "string_accepted_surrogate_pair": b'["\\uD801\\udc37"]',
    "string_allowed_escapes": b'["\\"\\\\\\/\\b\\f\\n\\r\\t"]',
    "string_backslash_and_u_escaped_zero": b'["\\\\u0000"]',
    "string_backslash_doublequotes": b'["\\""]',
    "string_double_escape_n": b'["\\\\n"]',
    "string_noncharacter": '["￿\U0010ffff"]'.encode(),
    "string_null_escape": b'["\\u0000"]',
    "string_one-byte-utf-8": b'["\\u002c"]',
    "string_u+2028": '["\u2028\u2029\u0085"]'.encode(),
    "string_unescaped_del": b'["\x7f"]',
    "string_utf8": '["€𝄞"]'.encode(),
    "string_rtl_and_zero_width": '["\u202e\u200b\ufeff"]'.encode(),
    "string_brackets": b'["[[[[{{{{\\"]]]]"]',
    "structure_lonely_null": b"null",
    "structure_whitespace_array": b" [] ",
    "structure_newlines": b"[\r\n1\n,\r2\t]",
}


def other_encodings():
    text = b'{"jsonrpc":"2.0","id":1,"method":"test/echo"}'.decode()
    for name in (
        "utf-16",
        "utf-16-le",
        "utf-16-be",
        "utf-32",
        "utf-32-le",
        "utf-32-be",
        "utf-8-sig",
        "utf-7",
        "cp037",
    ):
        yield pytest.param(text.encode(name) if name != "utf-7" else b"+AHs-" + text[1:].encode(), id=name)


REPEATED_MEMBERS = [
    b'{"jsonrpc":"2.0","id":1,"method":"a","method":"b"}',
    b'{"jsonrpc":"2.0","id":1,"method":"a","method":"a"}',
    b'{"jsonrpc":"2.0","id":1,"id":2,"method":"a"}',
    b'{"jsonrpc":"2.0","jsonrpc":"2.0","id":1,"method":"a"}',
    b'{"jsonrpc":"1.0","jsonrpc":"2.0","id":1,"method":"a"}',
    b'{"jsonrpc":"2.0","id":1,"method":"a","params":{},"params":{"x":1}}',
    b'{"jsonrpc":"2.0","id":1,"method":"a","params":{"x":1},"params":{"x":1}}',
    b'{"jsonrpc":"2.0","id":1,"method":"a","\\u006dethod":"b"}',
    b'{"jsonrpc":"2.0","id":1,"m\\u0065thod":"b","method":"a"}',
    b'{"jsonrpc":"2.0","i\\u0064":2,"id":1,"method":"a"}',
    b'{"jsonrpc":"2.0","method":"a","method":"b"}',
    b'{"jsonrpc":"2.0","method":"a","params":{},"p\\u0061rams":{}}',
    b'{"jsonrpc":"2.0","id":1,"method":"a","x":1,"x":2}',
    b'{"jsonrpc":"2.0","id":1,"id":1,"result":{}}',
    b'{"jsonrpc":"2.0","id":1,"result":{},"result":{}}',
    b'{"jsonrpc":"2.0","id":1,"method":"a","params":{"method":"c"} ,"method":"b"}',
    b'{"jsonrpc":"2.0","id":1,"method":"test/echo","params":{"x":"},\\"method\\":"},"method":"b"}',
]


UNKNOWN_MEMBERS = [
    b'{"jsonrpc":"2.0","id":1,"method":"test/echo","Method":"tools/call"}',
    b'{"jsonrpc":"2.0","id":1,"METHOD":"tools/call","method":"test/echo"}',
    b'{"jsonrpc":"2.0","id":1,"method":"test/echo","method\\u0000":"x"}',
    b'{"jsonrpc":"2.0","id":1,"method":"test/echo","method ":"x"," method":"y"}',
    b'{"jsonrpc":"2.0","id":1,"method":"test/echo","Method":"tools/call","method\\u0000":"x"}',
    '{"jsonrpc":"2.0","id":1,"method":"test/echo","paramſ":{"a":1},"ıd":5,"ID":6,"Id":7}'.encode(),
    '{"jsonrpc":"2.0","id":1,"method":"test/echo","ｍethod":"x","mеthod":"y"}'.encode(),
    b'{"JSONRPC":"1.0","jsonrpc":"2.0","id":1,"method":"test/echo"}',
    b'{"jsonrpc":"2.0","id":1,"method":"test/echo","__proto__":{"method":"x"},"constructor":1}',
    b'{"jsonrpc":"2.0","id":1,"method":"test/echo","command":"x","args":["y"],"env":{"LD_PRELOAD":"z"},"cwd":"/"}',
    b'{"jsonrpc":"2.0","id":1,"method":"test/echo","x":{"jsonrpc":"2.0","id":2,"method":"tools/call"}}',
    b'{"":"","jsonrpc":"2.0","id":1,"method":"test/echo"}',
    b'{"m\\u0065thod":"test/echo","jsonrpc":"2.0","id":1}',
    b' {\t"method" : "test/echo" ,\r\n"id":1 , "jsonrpc":"2.0" } \r\n',
]


MULTILINE = [
    b'{"jsonrpc":"2.0",\r"id":1,\n"method":"test/echo"}',
    b'{\n  "jsonrpc": "2.0",\n  "id": 1,\n  "method": "test/echo",\n  "params": {\n    "x": [\n      1\n    ]\n  }\n}\n',
    b'{"jsonrpc":"2.0","id":1,"method":"test/echo","params":{"x":1,\r\n"y":2\n}}',
    b'{"jsonrpc":"2.0","id":1,"method":"test/echo","params":{"x":1\r}}',
    b'{"jsonrpc":"2.0","id":1,"method":"test/echo","params":\n{"x":1}\n}',
    b'\r\n\r\n{"jsonrpc":"2.0","id":1,"method":"test/echo","params":{"x":"\\n{}\\r"}}\r\n\r\n',
    b'{"jsonrpc":"2.0","id":1,"method":"test/echo","params":{"x":\n{"jsonrpc":"2.0","id":2,"method":"tools/call"}\n}}',
]


REVISION = "2026-07-28"


META = (
    b'"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28",'
    b'"io.modelcontextprotocol/clientInfo":{"name":"hostile","version":"1"},"io.modelcontextprotocol/clientCapabilities":{}}'
)
