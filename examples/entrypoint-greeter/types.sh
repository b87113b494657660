#: Greets people, from shell scripts.
#: module

#: How loud a greeting is.
#: @LOW in a quiet voice
#: @HIGH in capitals
#: enum Level { LOW = "low", HIGH = "high" }
