/* Linked into every program: libgcc has a __wrap_pthread_create of its own. */
#include <pthread.h>

int sim_pthread_create(pthread_t *ret, const pthread_attr_t *attr, void *(*entry)(void *),
		       void *argument);
int __wrap_pthread_create(pthread_t *ret, const pthread_attr_t *attr, void *(*entry)(void *),
			  void *argument);

int __wrap_pthread_create(pthread_t *ret, const pthread_attr_t *attr, void *(*entry)(void *),
			  void *argument)
{
	return sim_pthread_create(ret, attr, entry, argument);
}
