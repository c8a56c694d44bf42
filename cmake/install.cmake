# Installs the headers and a package: find_package(facellava) gives facellava::core and whatever its dependencies allow.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

foreach(part IN LISTS FACELLAVA_TARGETS)
  list(APPEND facellava_installed facellava_${part})
endforeach()
list(TRANSFORM FACELLAVA_OPTIONAL PREPEND facellava_ OUTPUT_VARIABLE facellava_apart)
if(facellava_apart)
  list(REMOVE_ITEM facellava_installed ${facellava_apart})
endif()
install(TARGETS ${facellava_installed} EXPORT facellava-targets)
set(FACELLAVA_FIND_OPTIONAL "")  # each on its own: a machine that uses the package may lack its libraries
foreach(part IN LISTS FACELLAVA_OPTIONAL)
  install(TARGETS facellava_${part} EXPORT facellava-${part})
  install(EXPORT facellava-${part} NAMESPACE facellava:: DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/facellava)
  list(JOIN FACELLAVA_${part}_MODULES " " modules)
  string(APPEND FACELLAVA_FIND_OPTIONAL "facellava_find_optional(${part} ${modules})\n")
endforeach()
install(DIRECTORY include/facellava DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(EXPORT facellava-targets NAMESPACE facellava:: DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/facellava)
configure_package_config_file(cmake/facellava-config.cmake.in "${PROJECT_BINARY_DIR}/facellava-config.cmake"
                              INSTALL_DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/facellava)
write_basic_package_version_file("${PROJECT_BINARY_DIR}/facellava-config-version.cmake" COMPATIBILITY SameMinorVersion
                                 ARCH_INDEPENDENT)
install(FILES cmake/facellava_cuda.cmake "${PROJECT_BINARY_DIR}/facellava-config.cmake" "${PROJECT_BINARY_DIR}/facellava-config-version.cmake"
        DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/facellava)
