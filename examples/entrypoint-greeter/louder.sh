#: The next louder level.
#: louder(level: Level! = LOW): Level!
echo high
