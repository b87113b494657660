#: Fails, to show how that looks.
#: fail(code: Int! = 3): Void
echo "no luck today" >&2
exit "$code"
