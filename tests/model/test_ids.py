from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from gcd.model.ids import are_digests, is_digest

DIGEST = f"sha256:{'0b' * 32}"
TEXTS = st.lists(
    st.sampled_from([DIGEST, "", DIGEST[7:], DIGEST.upper(), f"{DIGEST}\n", f"sha512:{'0b' * 64}"])
    | st.text("sha256:0b", min_size=69, max_size=73)
    | st.builds(lambda at, c: DIGEST[:at] + c + DIGEST[at + 1 :], st.integers(0, 71), st.characters()),
    max_size=4,
)


@given(TEXTS)
@example(["0" + DIGEST[:-1]])
@example([DIGEST + "0", DIGEST[:-1]])
@example(["0" * 64 + "sha256:"])
def test_all_are_digests_where_each_is_one(texts):
    assert are_digests(tuple(texts)) == all(map(is_digest, texts))
