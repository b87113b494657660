//! Names that exist in every Python: its standard library and its builtins.

/// Top-level modules of the standard library in the versions of Python from 3.11 on.
const MODULES: &str = "\
abc antigravity argparse array ast asyncio atexit base64 bdb binascii bisect builtins bz2 cProfile calendar \
cmath cmd code codecs codeop collections colorsys compileall concurrent configparser contextlib contextvars \
copy copyreg csv ctypes curses dataclasses datetime dbm decimal difflib dis doctest email encodings ensurepip \
enum errno faulthandler fcntl filecmp fileinput fnmatch fractions ftplib functools gc genericpath getopt \
getpass gettext glob graphlib grp gzip hashlib heapq hmac html http idlelib imaplib importlib inspect io \
ipaddress itertools json keyword linecache locale logging lzma mailbox marshal math mimetypes mmap \
modulefinder msvcrt multiprocessing netrc nt ntpath nturl2path numbers opcode operator optparse os pathlib pdb \
pickle pickletools pkgutil platform plistlib poplib posix posixpath pprint profile pstats pty pwd py_compile \
pyclbr pydoc pydoc_data pyexpat queue quopri random re readline reprlib resource rlcompleter runpy sched \
secrets select selectors shelve shlex shutil signal site smtplib socket socketserver sqlite3 sre_compile \
sre_constants sre_parse ssl stat statistics string stringprep struct subprocess symtable sys sysconfig syslog \
tabnanny tarfile tempfile termios textwrap this threading time timeit tkinter token tokenize tomllib trace \
traceback tracemalloc tty turtle turtledemo types typing unicodedata unittest urllib uuid venv warnings wave \
weakref webbrowser winreg winsound wsgiref xml xmlrpc zipapp zipfile zipimport zlib zoneinfo
";
/// Builtins.
const BUILTINS: &str = "\
ArithmeticError AssertionError AttributeError BaseException BaseExceptionGroup BlockingIOError BrokenPipeError \
BufferError BytesWarning ChildProcessError ConnectionAbortedError ConnectionError ConnectionRefusedError \
ConnectionResetError DeprecationWarning EOFError Ellipsis EncodingWarning EnvironmentError Exception \
ExceptionGroup False FileExistsError FileNotFoundError FloatingPointError FutureWarning GeneratorExit IOError \
ImportError ImportWarning IndentationError IndexError InterruptedError IsADirectoryError KeyError \
KeyboardInterrupt LookupError MemoryError ModuleNotFoundError NameError None NotADirectoryError NotImplemented \
NotImplementedError OSError OverflowError PendingDeprecationWarning PermissionError ProcessLookupError \
RecursionError ReferenceError ResourceWarning RuntimeError RuntimeWarning StopAsyncIteration StopIteration \
SyntaxError SyntaxWarning SystemError SystemExit TabError TimeoutError True TypeError UnboundLocalError \
UnicodeDecodeError UnicodeEncodeError UnicodeError UnicodeTranslateError UnicodeWarning UserWarning ValueError \
Warning ZeroDivisionError abs aiter all anext any ascii bin bool breakpoint bytearray bytes callable chr \
classmethod compile complex delattr dict dir divmod enumerate eval exec exit filter float format frozenset \
getattr globals hasattr hash help hex id input int isinstance issubclass iter len list locals map max \
memoryview min next object oct open ord pow print property quit range repr reversed round set setattr slice \
sorted staticmethod str sum super tuple type vars zip __import__ __build_class__ __debug__
";
/// Modules that the library itself depends on.
const INSTALLED: &str = "\
dagger dagger_gen dagger_core_gen anyio attr attrs beartype cattr cattrs certifi charset_normalizer exceptiongroup google \
gql graphql h11 httpcore httpx idna markdown_it mdurl multidict opentelemetry packaging platformdirs propcache pygments \
requests rich typing_extensions urllib3 wrapt yarl";

/// Whether `name` is a top-level module of the standard library.
pub(super) fn is_stdlib(name: &str) -> bool {
    MODULES.split_whitespace().any(|known| known == name) || name.starts_with('_')
}

/// Whether `name` is a builtin.
pub(super) fn is_builtin(name: &str) -> bool {
    BUILTINS.split_whitespace().any(|known| known == name)
}

/// Whether `name` is a top-level module that is installed with the library.
pub(super) fn comes_with_library(name: &str) -> bool {
    INSTALLED.split_whitespace().any(|known| known == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        assert!(is_stdlib("enum") && is_stdlib("zoneinfo") && !is_stdlib("enumm"));
        assert!(is_builtin("str") && is_builtin("ArithmeticError") && is_builtin("zip") && !is_builtin("string"));
        assert!(comes_with_library("anyio") && !comes_with_library("yaml"));
    }
}
