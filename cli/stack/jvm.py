"""What every JVM of the local stack is started with.

On two cores the optimising compiler takes a third of a TaskManager's processor time for minutes, and a half of the broker's:
for code of which most waits, in a stack that may run no longer than that. Threads that collect garbage in the background take
the core of another process. To verify the byte code of Flink's and Kafka's own jars takes a tenth of what a submission does.
"""

SMALL_JVM = (
    "-XX:TieredStopAtLevel=1",
    "-XX:+UseSerialGC",
    "-XX:+UnlockDiagnosticVMOptions",
    "-XX:-BytecodeVerificationRemote",
)
