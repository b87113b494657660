#: Says hello.
#: @name who is greeted
#: @level how loud
#: hello(name: String! = "World", level: Level! = LOW): String!
if [ "$level" = high ]; then
    echo "Hello, $name!" | tr '[:lower:]' '[:upper:]'
else
    echo "Hello, $name!"
fi
