//! Tables of expressions that hold, one for each library.

use super::FUNCTIONS;
use crate::api::cel::testing::hold;

#[test]
fn every_signature_can_be_read() {
    assert!(FUNCTIONS.len() > 100);
}

#[test]
fn operators() {
    hold(&[
        "1 + 2 * 3 == 7 && 7 / 2 == 3 && -7 / 2 == -3 && 7 % 4 == 3 && -7 % 4 == -3",
        "1.5 + 1.5 == 3.0 && 3u - 1u == 2u && -(3) == -3 && 0x10 == 16",
        "'a' + 'b' == 'ab' && b'a' + b'b' == b'ab' && [1] + [2, 3] == [1, 2, 3]",
        "1 < 2 && 1 < 1.5 && 2u > 1 && -1 < 0u && 'a' < 'b' && b'a' <= b'a' && false < true",
        "9223372036854775807 < 9223372036854775808.0 && 1 == dyn(1.0) && dyn(1u) == 1",
        "1 in [1, 2] && !(3 in [1, 2]) && 'a' in {'a': 1} && !('b' in {'a': 1}) && 1 in dyn({1u: 2})",
        "{'a': [{'b': null}]} == {'a': [{'b': null}]} && [1, 2] != [2, 1] && [dyn(1), dyn('a')] == [dyn(1), dyn('a')]",
        "[1, 2, 3][1] == 2 && {'a': 1}['a'] == 1 && {'a': 1}.a == 1 && {1: 'x'}[1] == 'x' && [1][dyn(0.0)] == 1",
        "size('äö') == 2 && 'abc'.size() == 3 && size([1]) == 1 && {}.size() == 0 && size(b'ab') == 2",
        "(true ? 1 : 2) == 1 && (false ? 'a' : 'b') == 'b'",
        "has({'a': 1}.a) && !has({'a': 1}.b)",
        "1 / 0 == 0 !! division by zero",
        "1 % 0 == 0 !! modulus by zero",
        "9223372036854775807 + 1 == 0 !! integer overflow",
        "0u - 1u == 0u !! unsigned integer overflow",
        "-dyn(-9223372036854775808) == 0 !! integer overflow",
        "{'a': 1}['b'] == 1 !! no such key: b",
        "[1][1] == 1 !! index out of bounds: 1",
        "dyn(1) + dyn('a') == 1 !! no such overload",
        "dyn(true) + 1 == 1 !! no such overload: _+_",
        "1.0 / 0.0 > 1e308",
    ]);
}

#[test]
fn logic_makes_errors_good() {
    hold(&[
        "true || 1 / 0 == 0",
        "1 / 0 == 0 || true",
        "!(false && 1 / 0 == 0)",
        "!(1 / 0 == 0 && false)",
        "1 / 0 == 0 || false !! division by zero",
        "[0, 1].exists(x, 1 / x == 1)",
        "![0, 2].all(x, 1 / x > 0 && x < 2)",
        "dyn('a') || true",
        "dyn('a') && true !! no such overload",
    ]);
}

#[test]
fn macros() {
    hold(&[
        "[1, 2].all(x, x > 0) && ![1, 2].all(x, x > 1) && [].all(x, false)",
        "[1, 2].exists(x, x == 2) && !{'a': 1}.exists(k, k == 'b')",
        "[1, 2, 2].exists_one(x, x == 1) && ![1, 2, 2].existsOne(x, x == 2)",
        "[1, 2].map(x, x * 2) == [2, 4] && [1, 2, 3].map(x, x > 1, x * 2) == [4, 6]",
        "[1, 2, 3].filter(x, x % 2 == 1) == [1, 3] && {'a': 1, 'b': 2}.map(k, k) == ['a', 'b']",
        "[[1], [2]].map(x, x.map(y, y + size(x))) == [[2], [3]]",
        "cel.bind(x, 5, x * x) == 25 && cel.bind(x, 1 / 0, true)",
        "cel.bind(a, [1, 2].map(x, x + 1), cel.bind(b, a.map(x, x * 2), a + b)) == [2, 3, 4, 6]",
        "[1, 2].all(i, v, v == i + 1) && {'a': 1}.exists(k, v, k == 'a' && v == 1)",
        "['a', 'b'].exists_one(i, v, v == 'b' && i == 1) && {'a': 1, 'b': 1}.existsOne(k, v, k == 'a' && v == 1)",
        "[3, 4].transformList(i, v, i * v) == [0, 4] && {'a': 1, 'b': 2}.transformList(k, v, v > 1, k) == ['b']",
        "[3, 4].transformMap(i, v, v * 2) == {0: 6, 1: 8} && {'a': 1, 'b': 2}.transformMap(k, v, v > 1, k) == {'b': 'b'}",
        "{'a': 'x', 'b': 'y'}.transformMapEntry(k, v, {v: k}) == {'x': 'a', 'y': 'b'}",
        "['a', 'a'].transformMapEntry(i, v, {v: i}) == {} !! insert failed: key a already exists",
    ]);
}

#[test]
fn optionals() {
    hold(&[
        "{'a': {'b': 1}}.?a.b == optional.of(1) && {}.?a.b == optional.none() && !{'a': 1}.?b.hasValue()",
        "{'a': 1}[?'a'].value() == 1 && [1][?1].orValue(7) == 7 && [1][?0].orValue(7) == 1",
        "optional.none().or(optional.of(1)).value() == 1 && optional.of(1).or(optional.of(2)).value() == 1",
        "optional.of(1).optMap(x, x + 1).value() == 2 && !optional.none().optMap(x, x + 1).hasValue()",
        "optional.of({'a': 1}).optFlatMap(m, m.?a).value() == 1",
        "!optional.ofNonZeroValue('').hasValue() && !optional.ofNonZeroValue(0).hasValue()",
        "optional.ofNonZeroValue([1]).hasValue() && !optional.ofNonZeroValue({}).hasValue()",
        "[?{'a': 1}.?a, ?optional.none()] == [1] && {?'x': {}.?a, ?'y': optional.of(2)} == {'y': 2}",
        "[1, 2].first().value() == 1 && [1, 2].last().value() == 2 && ![].first().hasValue()",
        "optional.unwrap([optional.of(1), optional.none()]) == [1] && [optional.of(2)].unwrapOpt() == [2]",
        "has({'a': {}}.?a.b) == false && has(optional.of({'b': 1}).b)",
        "optional.none().value() == 1 !! optional.none() dereference",
    ]);
}

#[test]
fn conversions() {
    hold(&[
        "int('-5') == -5 && int(5.9) == 5 && int(5u) == 5 && int(timestamp(7)) == 7 && int(duration('1s')) == 1000000000",
        "uint('5') == 5u && uint(5.9) == 5u && uint(5) == 5u",
        "double('1.5') == 1.5 && double(3) == 3.0 && double(3u) == 3.0",
        "string(5) == '5' && string(5u) == '5' && string(true) == 'true' && string(b'a') == 'a'",
        "string(1.5) == '1.5' && string(1000000.0) == '1e+06' && string(0.00001) == '1e-05' && string(123456.0) == '123456'",
        "string(duration('1h30m')) == '5400s' && string(timestamp('1970-01-01T00:00:00Z')) == '1970-01-01T00:00:00Z'",
        "bool('true') && !bool('0') && bytes('ä') == b'\\xc3\\xa4'",
        "type(1) == int && type('') == string && type(type(1)) == type && type([]) == list && type({}) == map",
        "type(null) == null_type && type(duration('1s')) == google.protobuf.Duration && string(type(1)) == 'int' !! string",
        "dyn('a').size() == 1",
        "int(dyn('x')) == 1 !! type conversion error from 'string' to 'int'",
        "int('x') == 1 !! type conversion error from 'string' to 'int'",
        "uint(dyn(-1)) == 1u !! unsigned integer overflow",
        "int(dyn(1e19)) == 1 !! integer overflow",
        "string(dyn(b'\\xff')) == '' !! invalid UTF-8 in bytes, cannot convert to string",
    ]);
}

#[test]
fn times() {
    hold(&[
        "timestamp('2023-07-14T10:30:45.123Z').getFullYear() == 2023",
        "timestamp('2023-07-14T10:30:45.123Z').getMonth() == 6",
        "timestamp('2023-07-14T10:30:45.123Z').getDayOfMonth() == 13",
        "timestamp('2023-07-14T10:30:45.123Z').getDate() == 14",
        "timestamp('2023-07-14T10:30:45.123Z').getDayOfWeek() == 5",
        "timestamp('2023-01-02T00:00:00Z').getDayOfYear() == 1",
        "timestamp('2023-07-14T10:30:45.123Z').getHours() == 10",
        "timestamp('2023-07-14T10:30:45.123Z').getMinutes() == 30",
        "timestamp('2023-07-14T10:30:45.123Z').getSeconds() == 45",
        "timestamp('2023-07-14T10:30:45.123Z').getMilliseconds() == 123",
        "timestamp('2023-01-01T05:30:00Z').getFullYear('-08:00') == 2022",
        "timestamp('2023-01-01T05:30:00Z').getHours('+02:30') == 8",
        "timestamp('2023-01-01T05:30:00Z').getHours('No/Where') == 8 !! unknown time zone No/Where",
        "duration('3723.5s').getHours() == 1 && duration('3723s').getMinutes() == 62 && duration('1h').getSeconds() == 3600",
        "duration('1m') + duration('1s') == duration('61s') && duration('1m') - duration('1s') == duration('59s')",
        "timestamp('2023-01-01T00:00:00Z') + duration('24h') == timestamp('2023-01-02T00:00:00Z')",
        "timestamp('2023-01-02T00:00:00Z') - timestamp('2023-01-01T00:00:00Z') == duration('24h')",
        "timestamp('2023-01-01T00:00:00Z') < timestamp('2023-01-01T00:00:01Z') && duration('1s') < duration('1m')",
        "timestamp('2023-01-01T01:00:00+01:00') == timestamp('2023-01-01T00:00:00Z')",
        "timestamp('0001-01-01T00:00:00Z') - duration('1s') == timestamp(0) !! timestamp overflow",
        "duration(dyn('x')) == duration('1s') !! type conversion error from 'string' to 'google.protobuf.Duration'",
    ]);
}

#[test]
fn strings() {
    hold(&[
        "'hello'.contains('ell') && 'hello'.startsWith('he') && 'hello'.endsWith('lo')",
        "'hello'.charAt(4) == 'o' && 'hello'.charAt(5) == '' && 'äö'.charAt(1) == 'ö'",
        "'hello mellow'.indexOf('') == 0 && 'hello mellow'.indexOf('ello', 2) == 7 && 'hello mellow'.indexOf('ello', 20) == -1",
        "'hello mellow'.lastIndexOf('') == 12 && 'hello mellow'.lastIndexOf('ello') == 7",
        "'hello mellow'.lastIndexOf('ello', 6) == 1 && 'ääb'.lastIndexOf('ä') == 1 && 'a'.lastIndexOf('abc') == -1",
        "'TacoCÆt'.lowerAscii() == 'tacocÆt' && 'TacoCÆt'.upperAscii() == 'TACOCÆT' && '  a\\n'.trim() == 'a'",
        "'hello hello'.replace('he', 'we') == 'wello wello' && 'hello hello'.replace('he', 'we', 1) == 'wello hello'",
        "'hello hello'.replace('', '_') == '_h_e_l_l_o_ _h_e_l_l_o_' && 'abc'.replace('', '_', 2) == '_a_bc'",
        "'a b c'.split(' ') == ['a', 'b', 'c'] && 'a b c'.split(' ', 2) == ['a', 'b c'] && 'a b'.split(' ', 0) == []",
        "'abc'.split('') == ['a', 'b', 'c'] && 'abc'.split('', 2) == ['a', 'bc']",
        "'tacocat'.substring(4) == 'cat' && 'tacocat'.substring(0, 4) == 'taco' && 'ab'.substring(2) == ''",
        "['a', 'b'].join() == 'ab' && ['a', 'b'].join('-') == 'a-b' && [].join('x') == ''",
        r#"strings.quote('a"b\n') == '"a\\"b\\n"'"#,
        "'%s %d %f'.format(['a', 1, 1.5]) == 'a 1 1.500000' && '%.2f'.format([10000.1234]) == '10,000.12'",
        "'%x %X %x %b %o %%'.format([255, 255, 'ab', 5, 8]) == 'ff FF 6162 101 10 %'",
        "'%s'.format([[1, 'a', 2.5, null]]) == '[1, \"a\", 2.500000, null]'",
        "'%s'.format([{'b': 1, 'a': duration('1s')}]) == '{\"a\":duration(\"1s\"), \"b\":1}'",
        "'%d'.format(['a']) == '' !! decimal clause can only be used on integers, was given string",
        "'%d %d'.format([1]) == '' !! index 1 out of range",
        "'%d'.format([1, 2]) == '' !! too many arguments supplied to string.format (expected 1, got 2)",
        "'%q'.format([1]) == '' !! unrecognized formatting clause \"q\"",
        "'ab'.substring(3) == '' !! index out of range: 3",
        "'ab'.substring(2, 1) == '' !! invalid substring range. start: 2, end: 1",
        "'ab'.charAt(3) == '' !! index out of range: 3",
        "dyn(1).startsWith('a') !! no such overload",
    ]);
}

#[test]
fn patterns() {
    hold(&[
        "'foobar'.matches('^fo+') && !'foobar'.matches('^o') && matches('a1', r'\\d')",
        "'abc 123'.find('[0-9]+') == '123' && 'abc'.find('[0-9]+') == ''",
        "'123 abc 456'.findAll('[0-9]+') == ['123', '456'] && '123 456'.findAll('[0-9]+', 1) == ['123'] && 'a'.findAll('x') == []",
        "'a'.matches('(') !! invalid matches argument",
        "'a'.find('(') == '' !! program instantiation failed: error parsing regexp",
        "'a'.matches(dyn('(')) !! error parsing regexp",
    ]);
}

#[test]
fn lists() {
    hold(&[
        "[1, 2, 2].isSorted() && !['b', 'a'].isSorted() && [].isSorted()",
        "[1, 2].sum() == 3 && [1.5, 2.0].sum() == 3.5 && [duration('1s')].sum() == duration('1s') && [1u, 2u].sum() == 3u",
        "[1, 3, 2].max() == 3 && ['b', 'a'].min() == 'a'",
        "[1, 2, 1].indexOf(1) == 0 && [1, 2, 1].lastIndexOf(1) == 2 && [1].indexOf(7) == -1",
        "[1, 2, 3].slice(1, 3) == [2, 3] && [[1], [2]].flatten() == [1, 2] && [1, [2, [3]]].flatten(2) == [1, 2, 3] !! expected type",
        "[dyn([1]), dyn([[2]])].flatten(2) == [1, 2]",
        "[3, 1, 2].sort() == [1, 2, 3] && ['b', 'a'].sort() == ['a', 'b']",
        "[{'n': 2}, {'n': 1}].sortBy(x, x.n) == [{'n': 1}, {'n': 2}]",
        "lists.range(3) == [0, 1, 2] && [1, 2].reverse() == [2, 1] && [1, 2, 1].distinct() == [1, 2]",
        "dyn([]).max() == 1 !! max called on empty list",
        "[1].slice(1, 0) == [] !! cannot slice(1, 0), start index must be less than or equal to end index",
        "[1].slice(0, 2) == [] !! cannot slice(0, 2), list is length 1",
        "sets.contains([1, 2], [2]) && sets.contains([], []) && !sets.contains([1], [2])",
        "sets.equivalent([1, 2, 1], [2, 1]) && sets.intersects([1], [1, 2]) && !sets.intersects([1], [])",
    ]);
}

#[test]
fn urls() {
    hold(&[
        "url('https://user@Example.com:80/a%20b/c?x=1&x=2&y=a+b').getScheme() == 'https'",
        "url('https://user@Example.com:80/a%20b/c?x=1').getHost() == 'Example.com:80'",
        "url('https://[::1]:80/').getHostname() == '::1' && url('https://[::1]:80/').getPort() == '80'",
        "url('https://example.com').getPort() == '' && url('https://example.com').getEscapedPath() == ''",
        "url('https://example.com/a%20b').getEscapedPath() == '/a%20b' && url('/a b').getEscapedPath() == '/a%20b'",
        "url('https://a/?x=1&x=2&y=a+b').getQuery() == {'x': ['1', '2'], 'y': ['a b']}",
        "url('/path').getHost() == '' && url('/path') == url('/path') && url('/a') != url('/b')",
        "isURL('https://a.b') && isURL('/x') && !isURL('a b') && !isURL('../x') && !isURL('') && !isURL('https://a:x')",
        "url('nothing') == url('/') !! URL parse error during conversion from string: parse \"nothing\": invalid URI for request",
    ]);
}

#[test]
fn addresses() {
    hold(&[
        "ip('127.0.0.1').family() == 4 && ip('::1').family() == 6 && string(ip('::0001')) == '::1'",
        "ip('0.0.0.0').isUnspecified() && ip('127.0.0.1').isLoopback() && ip('224.0.0.1').isLinkLocalMulticast()",
        "ip('169.254.1.1').isLinkLocalUnicast() && ip('fe80::1').isLinkLocalUnicast() && ip('8.8.8.8').isGlobalUnicast()",
        "!ip('255.255.255.255').isGlobalUnicast() && ip('10.0.0.1').isGlobalUnicast() && ip('ff02::1').isLinkLocalMulticast()",
        "isIP('1.2.3.4') && !isIP('1.2.3') && !isIP('::ffff:1.2.3.4') && ip.isCanonical('::1') && !ip.isCanonical('::0:1')",
        "ip('1.2.3.4') == ip('1.2.3.4') && type(ip('::1')) == net.IP && string(cidr('10.0.0.0/8')) == '10.0.0.0/8'",
        "cidr('10.0.0.0/8').containsIP('10.1.2.3') && !cidr('10.0.0.0/8').containsIP(ip('11.0.0.1'))",
        "cidr('10.0.0.0/8').containsCIDR('10.1.0.0/16') && !cidr('10.0.0.0/16').containsCIDR(cidr('10.0.0.0/8'))",
        "cidr('10.1.2.3/8').masked() == cidr('10.0.0.0/8') && cidr('10.1.2.3/8').ip() == ip('10.1.2.3') && cidr('::/0').prefixLength() == 0",
        "isCIDR('10.0.0.0/8') && !isCIDR('10.0.0.0/33') && !isCIDR('10.0.0.0') && !isCIDR('10.0.0.0/08')",
        "ip('x') == ip('::1') !! IP Address \"x\" parse error during conversion from string: ParseAddr(\"x\"): unable to parse IP",
        "ip('fe80::1%en0') == ip('::1') !! IP address \"fe80::1%en0\" with zone value is not allowed",
        "ip('::ffff:1.2.3.4') == ip('::1') !! IPv4-mapped IPv6 address \"::ffff:1.2.3.4\" is not allowed",
    ]);
}

#[test]
fn quantities() {
    hold(&[
        "quantity('1Gi') == quantity('1024Mi') && quantity('1').isLessThan(quantity('2')) && quantity('2').isGreaterThan(quantity('1'))",
        "quantity('200M').compareTo(quantity('0.2G')) == 0 && quantity('1').compareTo(quantity('2')) == -1",
        "quantity('50k').asInteger() == 50000 && quantity('50k').isInteger() && !quantity('100m').isInteger()",
        "quantity('1500m').asApproximateFloat() == 1.5 && sign(quantity('-1')) == -1 && sign(quantity('0')) == 0",
        "quantity('50k').add(quantity('20k')) == quantity('70k') && quantity('50k').sub(20000) == quantity('30k')",
        "isQuantity('1.3G') && !isQuantity('1,3G')",
        "quantity('100m').asInteger() == 1 !! cannot convert value to integer",
        "quantity('x') == quantity('1') !! quantities must match the regular expression",
    ]);
}

#[test]
fn versions() {
    hold(&[
        "semver('1.2.3').major() == 1 && semver('1.2.3').minor() == 2 && semver('1.2.3').patch() == 3",
        "semver('1.2.3').isLessThan(semver('1.10.0')) && semver('1.0.0-alpha').isLessThan(semver('1.0.0'))",
        "semver('1.0.0-alpha.1').isLessThan(semver('1.0.0-alpha.beta')) && semver('1.0.0+a') == semver('1.0.0+b')",
        "semver('1.2.3').compareTo(semver('1.2.3')) == 0 && semver('v1.02', true) == semver('1.2.0')",
        "isSemver('1.0.0') && !isSemver('1.0') && isSemver('v1.0', true) && !isSemver('01.0.0') && !isSemver('200K')",
        "semver('1') == semver('1.0.0') !! No Major.Minor.Patch elements found",
    ]);
}

#[test]
fn formats() {
    hold(&[
        "!format.dns1123Label().validate('my-name').hasValue() && format.named('dns1123Label').value() == format.dns1123Label()",
        "format.dns1123Label().validate('a b').value()[0].startsWith('a lowercase RFC 1123 label must consist')",
        "!format.named('nothing').hasValue() && format.uri() != format.uuid()",
        "!format.dns1123LabelPrefix().validate('my-prefix-').hasValue() && !format.labelValue().validate('a_b').hasValue()",
        "format.byte().validate('a').value() == ['invalid base64'] && format.date().validate('x').value() == ['invalid date']",
        "format.uuid().validate('x').value() == ['does not match the UUID format'] && !format.uri().validate('http://a.b').hasValue()",
        "!format.datetime().validate('2020-01-01T00:00:00Z').hasValue() && !format.qualifiedName().validate('a.b/c').hasValue()",
    ]);
}

#[test]
fn patches() {
    hold(&[
        "jsonpatch.escapeKey('k8s.io/my~label') == 'k8s.io~1my~0label'",
        "JSONPatch{op: 'add', path: '/a'} == JSONPatch{op: 'add', path: '/a'} && JSONPatch{op: 'x'}.op == 'x'",
        "Object{spec: Object.spec{replicas: 3}} != Object{} && Object{a: 1}.a == 1",
        "JSONPatch{op: dyn(1)}.op == '' !! unexpected type for JSONPatchType 'op' field",
        "JSONPatch{what: 1}.op == '' !! undefined field 'what'",
    ]);
}
